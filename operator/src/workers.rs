//! The room of producers and processors: their objects, their links, how the sources are doing, whether data flows, how the
//! number of processors follows the load, whether records are deleted before they are read, how all are suspended, how a
//! topic is read again.

pub mod canary;
pub mod link;
pub mod load;
pub mod objects;
pub mod replay;
pub mod retention;
pub mod scaling;
pub mod sources;
pub mod suspend;
