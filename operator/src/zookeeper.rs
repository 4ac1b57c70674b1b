//! The room of ZooKeeper: its objects, its link, and who votes.

pub mod link;
pub mod membership;
pub mod objects;
