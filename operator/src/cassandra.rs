//! The room of Cassandra: its objects, its ring, what changes its schema, and its link.

pub mod changes;
pub mod link;
pub mod objects;
pub mod ring;
