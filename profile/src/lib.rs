//! Made-up people: the same seed and index give the same person, for ever and on every machine.
//!
//! [`profile`] gives the flat record that goes through Kafka into the table, [`user`] the same person as the
//! public random-user API nests it. Pure: no clock, no randomness but the seed, so that a test can compute the rows
//! that it expects. The goldens in this crate hold the promise; a change to them breaks stored sequences.

#![cfg_attr(test, allow(clippy::disallowed_methods, reason = "tests read fixtures and the clock"))]

mod names;
mod sequence;

use std::borrow::Cow;

use chrono::{DateTime, SecondsFormat};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use uuid::{Builder, Uuid};

use names::{NATIONS, Nation};
use sequence::Sequence;

/// The flat profile of one person: every field is text.
#[derive(Clone, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
pub struct Profile {
    /// Random UUID, distinct for distinct (seed, index).
    pub id: String,
    /// First name; may carry accents.
    pub first_name: Cow<'static, str>,
    /// Last name; may carry accents and apostrophes.
    pub last_name: Cow<'static, str>,
    /// `female` or `male`.
    pub gender: Cow<'static, str>,
    /// Number and street, city, state, country.
    pub address: String,
    /// Postal code as text, also where the nested form has a number.
    pub post_code: String,
    /// Address under example.com.
    pub email: String,
    /// Login name.
    pub username: String,
    /// Date of birth, RFC 3339 in UTC with milliseconds.
    pub dob: String,
    /// Date of registration, RFC 3339 in UTC with milliseconds.
    pub registered_date: String,
    /// Telephone number.
    pub phone: String,
    /// Address of a portrait under example.com.
    pub picture: String,
}

/// Returns the flat profile of the person at `index` of the sequence `seed`.
pub fn profile(seed: u64, index: u64) -> Profile {
    let person = Person::new(seed, index);
    Profile {
        id: person.id.to_string(),
        first_name: Cow::Borrowed(person.first),
        last_name: Cow::Borrowed(person.last),
        gender: Cow::Borrowed(person.gender()),
        address: person.address(),
        post_code: person.post_code(),
        email: person.email(),
        username: person.username(),
        dob: date(person.born),
        registered_date: date(person.registered),
        phone: person.phone(),
        picture: person.portrait("med/"),
    }
}

/// Returns the same person as an item of `results` in the public random-user API's answer, version 1.4.
pub fn user(seed: u64, index: u64) -> Value {
    let person = Person::new(seed, index);
    let nation = person.nation;
    let postcode = match nation.numeric_postcode {
        true => json!(person.postcode),
        false => json!(person.post_code()),
    };
    // Absent in many countries, as with the public API.
    let identity = match person.serial % 3 {
        0 => Value::Null,
        _ => json!(format!("{:06}-{:04}", person.serial % 1_000_000, person.serial % 9_973)),
    };
    json!({
        "gender": person.gender(),
        "name": {"title": if person.female { "Ms" } else { "Mr" }, "first": person.first, "last": person.last},
        "location": {
            "street": {"number": person.street_number, "name": person.street},
            "city": person.city.0, "state": person.city.1, "country": nation.country, "postcode": postcode,
            "coordinates": {"latitude": coordinate(person.serial, 90), "longitude": coordinate(person.serial >> 8, 180)},
            "timezone": {"offset": nation.offset, "description": nation.zone},
        },
        "email": person.email(),
        "login": {
            "uuid": person.id, "username": person.username(), "password": "not-a-secret",
            "salt": format!("{:08x}", person.serial), "md5": "-", "sha1": "-", "sha256": "-",
        },
        "dob": {"date": date(person.born), "age": age(person.born)},
        "registered": {"date": date(person.registered), "age": age(person.registered)},
        "phone": person.phone(), "cell": format!("{}{:04}", person.phone(), person.serial % 10_000),
        "id": {"name": nation.identity, "value": identity},
        "picture": {
            "large": person.portrait(""), "medium": person.portrait("med/"), "thumbnail": person.portrait("thumb/"),
        },
        "nat": nation.code,
    })
}

/// Returns the seed that a text stands for; the same text is the same seed.
pub fn seed_of(text: &str) -> u64 {
    // FNV-1a: short, stable and good enough to tell texts apart.
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

/// What both forms are made from, drawn once in a fixed order.
struct Person {
    id: Uuid,
    nation: &'static Nation,
    female: bool,
    first: &'static str,
    last: &'static str,
    street: &'static str,
    street_number: u32,
    city: (&'static str, &'static str),
    postcode: u32,
    adjective: &'static str,
    animal: &'static str,
    serial: u32,
    phone: u32,
    portrait: u32,
    born: i64,
    registered: i64,
}

const DAY: i64 = 86_400_000;
/// 1945-01-01: the oldest person's birth.
const FIRST_BIRTH: i64 = -9_131 * DAY;
const BIRTH_DAYS: u64 = 22_000;
/// 2005-01-01: the first registration; after every birth in the range.
const FIRST_REGISTRATION: i64 = 12_784 * DAY;
const REGISTRATION_DAYS: u64 = 7_300;
/// 2026-01-01: ages are counted at a fixed day, since there is no clock here.
const TODAY: i64 = 20_454 * DAY;

impl Person {
    fn new(seed: u64, index: u64) -> Self {
        let mut sequence = Sequence::new(seed, index);
        let mut identity = [0; 16];
        identity[..8].copy_from_slice(&sequence.next().to_be_bytes());
        identity[8..].copy_from_slice(&sequence.next().to_be_bytes());
        let nation = sequence.pick(NATIONS);
        let female = sequence.below(2) == 0;
        Self {
            id: Builder::from_random_bytes(identity).into_uuid(),
            nation,
            female,
            first: sequence.pick(if female { nation.female } else { nation.male }),
            last: sequence.pick(nation.last),
            street: sequence.pick(nation.streets),
            street_number: 1 + sequence.below(9_899) as u32,
            city: *sequence.pick(nation.cities),
            postcode: 10_000 + sequence.below(89_999) as u32,
            adjective: sequence.pick(names::ADJECTIVES),
            animal: sequence.pick(names::ANIMALS),
            serial: sequence.below(1 << 32) as u32,
            phone: sequence.below(100_000_000) as u32,
            portrait: sequence.below(100) as u32,
            born: FIRST_BIRTH + sequence.below(BIRTH_DAYS * DAY as u64) as i64,
            registered: FIRST_REGISTRATION + sequence.below(REGISTRATION_DAYS * DAY as u64) as i64,
        }
    }

    fn gender(&self) -> &'static str {
        if self.female { "female" } else { "male" }
    }

    fn address(&self) -> String {
        let (city, state) = self.city;
        let mut text = String::with_capacity(96);
        text.push_str(&self.street_number.to_string());
        text.push(' ');
        text.push_str(self.street);
        for part in [city, state, self.nation.country] {
            text.push_str(", ");
            text.push_str(part);
        }
        text
    }

    fn post_code(&self) -> String {
        match self.nation.numeric_postcode {
            true => self.postcode.to_string(),
            false => format!("{}-{:03}", self.postcode, self.serial % 1_000),
        }
    }

    fn email(&self) -> String {
        let plain =
            |name: &str| name.chars().filter(char::is_ascii_alphabetic).collect::<String>().to_ascii_lowercase();
        format!("{}.{}@example.com", plain(self.first), plain(self.last))
    }

    fn username(&self) -> String {
        format!("{}{}{}", self.adjective, self.animal, self.serial % 1_000)
    }

    fn phone(&self) -> String {
        match self.nation.numeric_postcode {
            true => format!("{:08}", self.phone),
            false => format!("({:02}) {:04}-{:04}", self.phone % 90 + 10, self.phone / 10_000, self.phone % 10_000),
        }
    }

    fn portrait(&self, size: &str) -> String {
        let group = if self.female { "women" } else { "men" };
        format!("https://example.com/portraits/{size}{group}/{}.jpg", self.portrait)
    }
}

fn date(millis: i64) -> String {
    let moment = DateTime::from_timestamp_millis(millis).expect("dates are drawn from the last century");
    moment.to_rfc3339_opts(SecondsFormat::Millis, true)
}

fn age(since: i64) -> i64 {
    (TODAY - since) / DAY * 100 / 36_525
}

fn coordinate(serial: u32, range: u32) -> String {
    let degrees = f64::from(serial % (range * 20_000)) / 10_000.0 - f64::from(range);
    format!("{degrees:.4}")
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::time::Instant;

    use super::*;

    #[test]
    fn profiles_keep_their_golden_values() {
        insta::assert_yaml_snapshot!([profile(1, 0), profile(1, 1), profile(7, 123_456)]);
    }

    #[test]
    fn users_keep_their_golden_values() {
        // Whether serde_json keeps the order of keys depends on what else is built.
        insta::with_settings!({sort_maps => true}, { insta::assert_json_snapshot!([user(1, 0), user(1, 1)]) });
    }

    #[test]
    fn seeds_of_texts_are_stable() {
        assert_eq!(seed_of(""), 0xcbf2_9ce4_8422_2325);
        // From the published test vectors of FNV-1a.
        assert_eq!(seed_of("a"), 0xaf63_dc4c_8601_ec8c);
        assert_eq!(seed_of("foobar"), 0x8594_4171_f739_67e8);
    }

    #[test]
    fn ids_are_distinct_within_and_across_seeds() {
        let ids: HashSet<String> =
            (0..4).flat_map(|seed| (0..25_000).map(move |index| profile(seed, index).id)).collect();
        assert_eq!(ids.len(), 100_000);
    }

    #[test]
    fn both_forms_are_the_same_person() {
        for index in 0..200 {
            let flat = profile(3, index);
            let nested = user(3, index);
            assert_eq!(nested["login"]["uuid"], flat.id.as_str());
            assert_eq!(nested["name"]["first"], flat.first_name.as_ref());
            assert_eq!(nested["dob"]["date"], flat.dob.as_str());
            let postcode = &nested["location"]["postcode"];
            assert_eq!(postcode.as_str().map_or_else(|| postcode.to_string(), str::to_owned), flat.post_code);
        }
    }

    #[test]
    fn sequences_hold_the_awkward_cases() {
        let users: Vec<Value> = (0..500).map(|index| user(1, index)).collect();
        assert!(users.iter().any(|user| user["location"]["postcode"].is_number()));
        assert!(users.iter().any(|user| user["location"]["postcode"].is_string()));
        assert!(users.iter().any(|user| user["id"]["value"].is_null()));
        assert!(users.iter().any(|user| user["name"]["last"].as_str().is_some_and(|name| name.contains('\''))));
        assert!(users.iter().any(|user| user["name"]["first"].as_str().is_some_and(|name| !name.is_ascii())));
    }

    #[test]
    fn a_profile_costs_microseconds() {
        let start = Instant::now();
        let length: usize = (0..100_000).map(|index| profile(9, index).address.len()).sum();
        let each = start.elapsed() / 100_000;
        // The aim is 3 µs; the bar leaves room for a machine shared with a compiler.
        assert!(each.as_micros() < 15, "{each:?} a profile ({length})");
        println!("{each:?} a profile");
    }
}
