//! The loss ledger: which rows there must be, computed from generator seeds, and how the table differs from that.

use std::collections::{HashMap, HashSet};
use std::fmt;

use anyhow::{Result, ensure};
use millrace_profile::{Profile, profile};
use uuid::Uuid;

/// Which made-up person a row shall be.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Person {
    /// Seed of the sequence.
    pub seed: u64,
    /// Place in it.
    pub index: u64,
}

/// A row of the table; timestamps as RFC 3339 in UTC with milliseconds, as generators write them.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Row {
    /// The primary key.
    pub id: Uuid,
    /// The other columns in the order of [`COLUMNS`]. `None`: the cell is empty.
    pub values: [Option<String>; 11],
}

/// The columns beside `id`, in order.
pub const COLUMNS: [&str; 11] = [
    "first_name",
    "last_name",
    "gender",
    "address",
    "post_code",
    "email",
    "username",
    "dob",
    "registered_date",
    "phone",
    "picture",
];

/// The rows that there must be, and those that were found so far.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    expected: HashMap<Uuid, Person>,
    found: HashSet<Uuid>,
    comparison: Comparison,
}

/// How a table differs from what was expected; all zero but `expected` and `rows` when it does not.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Comparison {
    /// Rows that there must be.
    pub expected: usize,
    /// Rows that were read.
    pub rows: usize,
    /// Expected and not there.
    pub lost: usize,
    /// There and not expected.
    pub extra: usize,
    /// Read more than once.
    pub twice: usize,
    /// There with another value in some column.
    pub different: usize,
    /// The first few findings, in words.
    pub examples: Vec<String>,
}

/// Most findings that are told in words.
const EXAMPLES: usize = 5;

impl Ledger {
    /// Expects these persons, each as one row.
    pub fn of(persons: impl IntoIterator<Item = Person>) -> Self {
        let identified = persons.into_iter().map(|person| (id_of(&profile(person.seed, person.index)), person));
        Self { expected: identified.collect(), ..Self::default() }
    }

    /// Expects the first `count` persons of a seed, too.
    pub fn and(self, seed: u64, count: u64) -> Self {
        self.plus(Self::of((0..count).map(|index| Person { seed, index })))
    }

    /// Expects what another ledger expects, too.
    pub fn plus(mut self, other: Self) -> Self {
        self.expected.extend(other.expected);
        self
    }

    /// Returns the ids of the rows that there must be.
    pub fn ids(&self) -> HashSet<Uuid> {
        self.expected.keys().copied().collect()
    }

    /// Expects of these persons only those with an id in `ids`.
    pub fn only(mut self, ids: &HashSet<Uuid>) -> Self {
        self.expected.retain(|id, _| ids.contains(id));
        self
    }

    /// Enters a row that was read.
    pub fn enter(&mut self, row: &Row) {
        self.comparison.rows += 1;
        if !self.found.insert(row.id) {
            self.comparison.twice += 1;
            self.example(format!("row {} was read twice", row.id));
            return;
        }
        let Some(person) = self.expected.get(&row.id).copied() else {
            self.comparison.extra += 1;
            return self.example(format!("row {} is of nobody who is expected", row.id));
        };
        if let Some(difference) = difference(row, &profile(person.seed, person.index)) {
            self.comparison.different += 1;
            self.example(format!("row {} of {person:?}: {difference}", row.id));
        }
    }

    /// Closes the account.
    pub fn close(mut self) -> Comparison {
        self.comparison.expected = self.expected.len();
        let lost: Vec<(Uuid, Person)> = self
            .expected
            .iter()
            .filter(|(id, _)| !self.found.contains(id))
            .map(|(id, person)| (*id, *person))
            .collect();
        self.comparison.lost = lost.len();
        for (id, person) in lost {
            self.example(format!("row {id} of {person:?} is lost"));
        }
        self.comparison
    }

    fn example(&mut self, finding: String) {
        if self.comparison.examples.len() < EXAMPLES {
            self.comparison.examples.push(finding);
        }
    }
}

impl Comparison {
    /// Returns whether every expected row is there, once and with its values, and nothing else.
    pub fn is_exact(&self) -> bool {
        let Self { expected, rows, lost, extra, twice, different, examples: _ } = self;
        rows == expected && [lost, extra, twice, different].into_iter().all(|count| *count == 0)
    }

    /// Fails with the findings unless the table is exactly as expected.
    pub fn ensure_exact(&self) -> Result<()> {
        ensure!(self.is_exact(), "the table is not as expected: {self}: {}", self.examples.join("; "));
        Ok(())
    }
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { expected, rows, lost, extra, twice, different, examples: _ } = self;
        write!(
            f,
            "{expected} expected, {rows} rows, {lost} lost, {extra} extra, {twice} twice, {different} with other values"
        )
    }
}

/// Returns the id of a profile.
pub fn id_of(profile: &Profile) -> Uuid {
    profile.id.parse().expect("a profile's id is a UUID")
}

/// Returns the values of a profile in the order of [`COLUMNS`].
pub fn values(profile: &Profile) -> [&str; 11] {
    let Profile {
        id: _,
        first_name,
        last_name,
        gender,
        address,
        post_code,
        email,
        username,
        dob,
        registered_date,
        phone,
        picture,
    } = profile;
    [first_name, last_name, gender, address, post_code, email, username, dob, registered_date, phone, picture]
}

fn difference(row: &Row, wanted: &Profile) -> Option<String> {
    let mut pairs = COLUMNS.iter().zip(&row.values).zip(values(wanted));
    let ((column, found), wanted) = pairs.find(|((_, found), wanted)| found.as_deref() != Some(*wanted))?;
    Some(format!("{column} is {found:?}, not '{wanted}'"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(index: u64) -> Row {
        let profile = profile(5, index);
        Row { id: id_of(&profile), values: values(&profile).map(|value| Some(value.to_owned())) }
    }

    fn compare(rows: impl IntoIterator<Item = Row>) -> Comparison {
        let mut ledger = Ledger::default().and(5, 100);
        for row in rows {
            ledger.enter(&row);
        }
        ledger.close()
    }

    #[test]
    fn is_exact_when_every_row_is_there_once() {
        let comparison = compare((0..100).map(row));
        assert!(comparison.is_exact(), "{comparison}");
        comparison.ensure_exact().expect("it is exact");
    }

    #[test]
    fn notices_a_lost_row() {
        let comparison = compare((1..100).map(row));
        assert_eq!((comparison.lost, comparison.is_exact()), (1, false));
        assert!(comparison.examples[0].contains("index: 0"), "{comparison:?}");
    }

    #[test]
    fn notices_a_row_that_nobody_expects() {
        let comparison = compare((0..101).map(row));
        assert_eq!((comparison.extra, comparison.is_exact()), (1, false));
    }

    #[test]
    fn notices_a_row_that_was_read_twice() {
        let comparison = compare((0..100).chain([7]).map(row));
        assert_eq!((comparison.twice, comparison.is_exact()), (1, false));
    }

    #[test]
    fn notices_a_changed_and_an_emptied_cell_in_every_column() {
        for (column, name) in COLUMNS.iter().enumerate() {
            for value in [None, Some("other".to_owned())] {
                let comparison = compare((0..100).map(row).map(|mut row| {
                    if row == self::row(42) {
                        row.values[column] = value.clone();
                    }
                    row
                }));
                assert_eq!((comparison.different, comparison.is_exact()), (1, false), "{name}");
            }
        }
    }

    #[test]
    fn a_lost_row_does_not_make_up_for_an_extra_one() {
        let comparison = compare((1..101).map(row));
        assert_eq!((comparison.lost, comparison.extra, comparison.rows), (1, 1, 100));
        assert!(!comparison.is_exact());
    }
}
