//! What the tests of every machine share: a harness that checks after each step, the runner of
//! scripts, and random numbers from a seed that a failure prints.

mod harness;
mod random;
mod script;

pub(crate) use harness::{BEGIN, Harness, Tested, Written};
pub(crate) use random::{Dice, for_each_seed};
pub(crate) use script::{Script, Words, check_scripts};
