//! The room of Kafka: its objects, what changes its topics, and its links.

pub mod changes;
pub mod link;
pub mod objects;
