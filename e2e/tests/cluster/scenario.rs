//! Scenarios that a test runs to see them survived, and a negative control runs again with a fault switched on to see
//! that the test would notice. Each returns what it saw and judges nothing.

pub mod account;
pub mod clock;
pub mod fault;
pub mod outage;
pub mod poison;
pub mod replay;
