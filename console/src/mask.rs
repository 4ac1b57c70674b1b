//! Masking: which fields of records a viewer does not see, and records without them. Pure.
//!
//! A field is masked by its name wherever it stands: at the top of a record or deep in it, and as a column. What is
//! masked is the whole value below the name. A record that is no JSON object has no fields: while anything is masked, all
//! of it is, since nobody can say what it holds.

use std::collections::BTreeSet;

use serde_json::Value;

/// What stands in place of a value.
pub const MASK: &str = "•••";

/// Annotation of a pipeline: names of fields to mask, separated by commas, beside those of the console.
pub const ANNOTATION: &str = "millrace.dev/masked-fields";

/// The fields that are masked for a viewer; empty: none.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Mask {
    fields: BTreeSet<String>,
    /// Whether there are such fields, and the viewer sees them.
    lifted: bool,
}

impl Mask {
    /// Makes the mask of the console's fields and those of a pipeline's annotation. Letters' case does not count.
    pub fn new(console: &[String], annotation: Option<&str>) -> Self {
        let own = annotation.unwrap_or_default().split(',');
        let fields = console.iter().map(String::as_str).chain(own).map(str::trim).filter(|name| !name.is_empty());
        Self { fields: fields.map(str::to_lowercase).collect(), lifted: false }
    }

    /// Returns the mask of a viewer who sees what is masked for others.
    pub fn lifted() -> Self {
        Self { fields: BTreeSet::new(), lifted: true }
    }

    /// Returns whether the viewer sees what is masked for others.
    pub fn is_lifted(&self) -> bool {
        self.lifted
    }

    /// Returns whether nothing is masked.
    pub fn is_empty(&self) -> bool {
        self.fields.is_empty()
    }

    /// Returns the names, in small letters.
    pub fn fields(&self) -> Vec<String> {
        self.fields.iter().cloned().collect()
    }

    /// Returns whether a field or column is masked.
    pub fn hides(&self, name: &str) -> bool {
        self.fields.contains(&name.to_lowercase())
    }

    /// Masks the fields of a value; returns whether there were any.
    pub fn apply(&self, value: &mut Value) -> bool {
        match value {
            Value::Object(fields) => {
                let mut any = false;
                for (name, value) in fields {
                    if self.hides(name) {
                        *value = Value::String(MASK.to_owned());
                        any = true;
                    } else {
                        any |= self.apply(value);
                    }
                }
                any
            }
            Value::Array(values) => values.iter_mut().fold(false, |any, value| self.apply(value) | any),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn masked(mask: &Mask, mut value: Value) -> (Value, bool) {
        let any = mask.apply(&mut value);
        (value, any)
    }

    #[test]
    fn masks_fields_wherever_they_stand_and_nothing_else() {
        let mask = Mask::new(&["email".to_owned()], Some("iban, Phone"));
        let record = json!({"id": 1, "Email": "a@b", "to": [{"phone": {"home": 1}, "city": "Ulm"}], "iban": null});
        let expected = json!({"id": 1, "Email": MASK, "to": [{"phone": MASK, "city": "Ulm"}], "iban": MASK});
        assert_eq!(masked(&mask, record), (expected, true));
        let other = json!({"emails": "a@b", "text": "email"});
        assert_eq!(masked(&mask, other.clone()), (other, false));
    }

    #[test]
    fn who_sees_all_has_an_empty_mask_that_says_so() {
        assert!(Mask::lifted().is_empty() && Mask::lifted().is_lifted());
        assert!(!Mask::new(&[], None).is_lifted() && !Mask::new(&["a".to_owned()], None).is_lifted());
    }

    #[test]
    fn without_fields_nothing_is_masked() {
        let none = Mask::new(&[], Some(" , "));
        assert!(none.is_empty());
        let record = json!({"email": "a@b"});
        assert_eq!(masked(&none, record.clone()), (record, false));
        assert!(!none.hides("email"));
    }
}
