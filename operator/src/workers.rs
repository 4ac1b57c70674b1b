//! The room of producers and processors: their objects and their links.

pub mod link;
pub mod objects;
