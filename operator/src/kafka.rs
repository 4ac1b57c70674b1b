//! The room of Kafka: its objects, what changes its topics, where its partitions go, and its links.

pub mod assignment;
pub mod changes;
pub mod link;
pub mod objects;
pub mod reassignment;
