//! The room of ZooKeeper: its objects and its link.

pub mod link;
pub mod objects;
