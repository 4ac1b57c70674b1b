//! Moments as Kubernetes writes them.

use chrono::{DateTime, Utc};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;

/// Returns the moment of a Kubernetes time.
pub fn moment_of(time: &Time) -> DateTime<Utc> {
    let nanoseconds = time.0.subsec_nanosecond().unsigned_abs();
    DateTime::from_timestamp(time.0.as_second(), nanoseconds).unwrap_or(DateTime::UNIX_EPOCH)
}

/// Returns a moment as Kubernetes has it, in whole seconds.
pub fn time_of(moment: DateTime<Utc>) -> Time {
    Time(Timestamp::from_second(moment.timestamp()).unwrap_or(Timestamp::UNIX_EPOCH))
}
