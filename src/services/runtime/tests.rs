//! Services as their users see them: what is in the topics, the tables and the dead letters after everything has
//! been handled. The cluster is in memory, the clock is moved by hand.

mod failures;
mod fixture;
mod retries;
mod state;
