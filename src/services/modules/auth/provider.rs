//! Codes of an identity provider for tokens. The provider is a fake one in this process: the code `code-USER`
//! stands for the user USER, and is good for one exchange, as RFC 6749 (4.1.2) has it.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use crate::services::error::{Result, permanent};
use crate::services::event::Effect;

/// Codes that are known to be used; the oldest are forgotten above it.
const CODES_MAX: usize = 10_000;

/// What the provider says of who came back from it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct UserInfo {
    pub(super) user_id: String,
    pub(super) email: String,
    pub(super) session_id: String,
}

#[derive(Debug, Default)]
struct Codes {
    /// By which exchange a code was used.
    used: HashMap<String, String>,
    order: VecDeque<String>,
}

/// The fake; a clone is the same one.
#[derive(Clone, Debug, Default)]
pub(super) struct Provider(Arc<Mutex<Codes>>);

/// The exchange of a code.
pub(super) struct Exchange {
    pub(super) provider: Provider,
    pub(super) code: String,
}

impl Effect for Exchange {
    type Out = UserInfo;

    /// The same exchange, tried again after a crash, gets the same answer.
    async fn run(&self, key: &str) -> Result<UserInfo> {
        self.provider.exchange(&self.code, key)
    }
}

impl Provider {
    fn exchange(&self, code: &str, key: &str) -> Result<UserInfo> {
        let refused = |why: &str| Err(permanent("invalid_grant").because(why));
        let Some(user_id) = code.strip_prefix("code-").filter(|user| !user.is_empty()) else {
            return refused("the code is not known");
        };
        let mut codes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match codes.used.get(code) {
            Some(by) if by != key => return refused("the code was used before"),
            Some(_) => {}
            None => codes.add(code, key),
        }
        Ok(UserInfo {
            user_id: user_id.to_owned(),
            email: format!("{user_id}@example.com"),
            session_id: format!("session-{key}"),
        })
    }
}

impl Codes {
    fn add(&mut self, code: &str, key: &str) {
        self.used.insert(code.to_owned(), key.to_owned());
        self.order.push_back(code.to_owned());
        if self.order.len() > CODES_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.used.remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_good_for_one_exchange() {
        let provider = Provider::default();
        let first = provider.exchange("code-u-1", "a").unwrap();
        assert_eq!((&*first.user_id, &*first.email), ("u-1", "u-1@example.com"));
        assert_eq!(provider.exchange("code-u-1", "a").unwrap(), first);
        assert_eq!(provider.exchange("code-u-1", "b").unwrap_err().reason, "invalid_grant");
        assert_eq!(provider.exchange("stolen", "a").unwrap_err().reason, "invalid_grant");
    }
}
