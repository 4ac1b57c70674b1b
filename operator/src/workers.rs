//! The room of producers and processors: their objects, their links, how the sources are doing, how all are suspended.

pub mod link;
pub mod objects;
pub mod sources;
pub mod suspend;
