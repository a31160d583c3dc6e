//! Where a broker is to be reached, as users write it.

use std::fmt;

use super::error::ClientError;

/// The port of an address that has none.
const DEFAULT_PORT: u16 = 9092;

/// A host and a port.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Address {
    /// A name or an address, without brackets.
    pub host: String,
    /// The port.
    pub port: u16,
}

impl Address {
    /// Reads `HOST`, `HOST:PORT`, `[IPv6]:PORT`, each perhaps with `PLAINTEXT://` before it.
    ///
    /// # Errors
    /// [`ClientError::Address`].
    pub fn parse(text: &str) -> Result<Self, ClientError> {
        Self::read(text.trim()).ok_or_else(|| ClientError::Address { text: text.to_owned() })
    }

    fn read(text: &str) -> Option<Self> {
        let text = text.strip_prefix("PLAINTEXT://").unwrap_or(text);
        let (host, port) = match text.strip_prefix('[') {
            Some(rest) => {
                let (host, rest) = rest.split_once(']')?;
                (host, if rest.is_empty() { None } else { Some(rest.strip_prefix(':')?) })
            }
            None => match text.split_once(':') {
                Some((_, port)) if port.contains(':') => (text, None), // A bare IPv6 address.
                Some((host, port)) => (host, Some(port)),
                None => (text, None),
            },
        };
        let is_host = |c: char| !c.is_whitespace() && !matches!(c, '/' | ',' | '[' | ']');
        if host.is_empty() || !host.chars().all(is_host) {
            return None;
        }
        let port = port.map_or(Some(DEFAULT_PORT), |port| port.parse().ok())?;
        Some(Self { host: host.to_owned(), port })
    }

    /// Reads a list with commas between.
    ///
    /// # Errors
    /// [`ClientError::Address`] for the first that is none, or where there is none at all.
    pub fn parse_list(text: &str) -> Result<Vec<Self>, ClientError> {
        let addresses: Vec<_> = text
            .split(',')
            .filter(|item| !item.trim().is_empty())
            .map(Self::parse)
            .collect::<Result<_, _>>()?;
        if addresses.is_empty() {
            return Err(ClientError::Address { text: text.to_owned() });
        }
        Ok(addresses)
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &str) {
        let shown = Address::parse(text).map_or_else(|error| error.to_string(), |a| a.to_string());
        assert_eq!(shown, expected, "{text}");
    }

    #[test]
    fn addresses_are_read_as_users_write_them() {
        check("localhost:19092", "localhost:19092");
        check("kafka", "kafka:9092");
        check(" PLAINTEXT://10.0.0.1:9093 ", "10.0.0.1:9093");
        check("[::1]:9092", "[::1]:9092");
        check("::1", "[::1]:9092");
        check("[::1]", "[::1]:9092");
    }

    #[test]
    fn what_is_no_address_is_named() {
        for text in ["", ":9092", "host:port", "host:70000", "[::1", "http://host:80", "a b:1"] {
            check(text, &format!("{text:?} is no address: give HOST:PORT"));
        }
    }

    #[test]
    fn a_list_may_have_empty_items_but_not_only_those() {
        assert_eq!(Address::parse_list("a:1,,b:2,").map(|list| list.len()).ok(), Some(2));
        assert!(Address::parse_list(" , ").is_err());
    }
}
