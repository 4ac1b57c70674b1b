//! The room of producers and processors: their objects, their links, and how the sources are doing.

pub mod link;
pub mod objects;
pub mod sources;
