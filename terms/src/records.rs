//! How a query reads the records of its topic, where there is a choice.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// How a query reads records. The default of each setting is left out where settings are written, so that a setting
/// that is new restarts no worker.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct RecordSettings {
    /// What becomes of a record without a value.
    #[serde(skip_serializing_if = "is_default")]
    pub tombstones: Tombstones,
    /// What becomes of a record with a field that the table has no column for. With SQL, such fields are always ignored.
    #[serde(skip_serializing_if = "is_default")]
    pub unknown_fields: UnknownFields,
    /// What the integers of timestamp columns count, by column. Absent: milliseconds. Without SQL alone.
    #[serde(skip_serializing_if = "is_default")]
    pub epoch_units: BTreeMap<String, EpochUnit>,
}

/// What becomes of a record without a value.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub enum Tombstones {
    /// It becomes a dead letter.
    #[default]
    Reject,
    /// It is counted and passed over.
    Skip,
    /// It deletes the row whose primary key is the record's key.
    Delete,
}

/// What becomes of a record with a field that the table has no column for.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub enum UnknownFields {
    /// It becomes a dead letter.
    #[default]
    Refuse,
    /// The field is passed over.
    Ignore,
}

/// What an integer counts that stands for an instant, from the Unix epoch on.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum EpochUnit {
    /// Seconds.
    #[serde(rename = "s")]
    Seconds,
    /// Milliseconds.
    #[serde(rename = "ms")]
    Milliseconds,
    /// Microseconds.
    #[serde(rename = "us")]
    Microseconds,
    /// Nanoseconds.
    #[serde(rename = "ns")]
    Nanoseconds,
}

impl EpochUnit {
    /// Returns the unit in words.
    pub fn name(self) -> &'static str {
        match self {
            Self::Seconds => "seconds",
            Self::Milliseconds => "milliseconds",
            Self::Microseconds => "microseconds",
            Self::Nanoseconds => "nanoseconds",
        }
    }
}

/// Returns whether a setting is what it is without being written.
pub(crate) fn is_default<T: Default + PartialEq>(setting: &T) -> bool {
    *setting == T::default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_not_written_and_need_not_be() {
        assert_eq!(serde_json::to_string(&RecordSettings::default()).expect("JSON"), "{}");
        assert_eq!(serde_json::from_str::<RecordSettings>("{}").expect("settings"), RecordSettings::default());
        let deleting = RecordSettings { tombstones: Tombstones::Delete, ..RecordSettings::default() };
        let written = serde_json::to_string(&deleting).expect("JSON");
        assert_eq!(written, r#"{"tombstones":"Delete"}"#);
        assert_eq!(serde_json::from_str::<RecordSettings>(&written).expect("settings"), deleting);
        serde_json::from_str::<RecordSettings>(r#"{"tombstone":"Delete"}"#).expect_err("misspelt");
    }
}
