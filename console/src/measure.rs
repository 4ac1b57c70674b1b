//! What the console measures by itself: every 5 s, for an hour, in bounded memory.
//!
//! ```text
//! scrape   asks the workers' /metrics and Kafka's offsets    network
//! reading  text of /metrics -> Reading                       pure
//! rates    two readings -> Rates                             pure
//! values   Rates and offsets -> a value for each series      pure
//! history  values -> the last hour of each series            memory, bounded
//! sampler  all of it, for every pipeline                     the loop
//! ```
//!
//! Unknown is `None` from the first step to the last, and has its cause.

pub mod history;
pub mod rates;
pub mod reading;
pub mod sampler;
pub mod scrape;
pub mod values;
