//! Messages of topics: found, shown, and followed live.
//!
//! ```text
//! filter  the query -> which records are wanted         pure
//! cursor  where a search goes on                        pure
//! search  partitions, window by window -> a page        network
//! render  record + mask -> message                      pure
//! tap     the newest records of a topic, once a second  network, shared by all who look
//! ```

pub mod cursor;
pub mod filter;
pub mod render;
pub mod search;
pub mod tap;
