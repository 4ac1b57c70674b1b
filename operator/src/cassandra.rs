//! The room of Cassandra: its objects, its ring and the nodes in it, what changes its schema, its repairs, and its link.

pub mod changes;
pub mod leaving;
pub mod link;
pub mod memory;
pub mod nodes;
pub mod objects;
pub mod repair;
pub mod ring;
