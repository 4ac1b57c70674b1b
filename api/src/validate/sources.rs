//! Parses sources of every kind.

use std::collections::{BTreeMap, BTreeSet};

use millrace_terms::{
    Bytes, Duration, FileFormat, FilesSettings, FollowPages, GeneratorSettings, HeaderSettings, HeaderValue,
    HttpSettings, KafkaSourceSettings, Method, OAuth2Settings, Origin, PaginationSettings, PushSettings, RecordsAre,
    SourceSettings, StartAt,
};

use super::Parse;
use crate::crd;
use crate::crd::producer::ONE_KIND;
use crate::names::{Component, Names};
use crate::pipeline::{Claim, SecretKey};

impl Parse {
    pub(super) fn source(
        &mut self,
        path: &str,
        written: &crd::Source,
        names: &Names,
        secrets: &mut BTreeSet<SecretKey>,
    ) -> Option<SourceSettings> {
        let crd::Source { name, topic, http, generator, push, files, kafka, params: _, schedule: _, key, fields } =
            written;
        let origin = match (http, generator, push, files, kafka) {
            (Some(http), None, None, None, None) => Origin::Http(self.http(&format!("{path}.http"), http, secrets)),
            (None, Some(generator), None, None, None) => Origin::Generator(GeneratorSettings {
                seed: generator.seed.unsigned_abs(),
                count: generator.count.map(i64::unsigned_abs),
                records_per_second: generator.records_per_second.map(i32::unsigned_abs),
            }),
            (None, None, Some(push), None, None) => Origin::Push(self.push(&format!("{path}.push"), push, secrets)),
            (None, None, None, Some(files), None) => Origin::Files(self.files(&format!("{path}.files"), files)),
            (None, None, None, None, Some(kafka)) => {
                Origin::Kafka(self.other_kafka(&format!("{path}.kafka"), kafka, written, names))
            }
            _ => {
                self.reject(path, ONE_KIND);
                return None;
            }
        };
        Some(SourceSettings {
            name: name.clone(),
            topic: topic.clone(),
            key: key.clone(),
            fields: fields.clone(),
            params: BTreeMap::new(),
            origin,
        })
    }

    fn http(&mut self, path: &str, written: &crd::Http, secrets: &mut BTreeSet<SecretKey>) -> HttpSettings {
        let crd::Http {
            url,
            method,
            query,
            body,
            interval,
            timeout,
            records,
            records_are,
            pagination,
            since,
            oauth2,
            headers,
            max_response,
            max_requests_per_minute,
        } = written;
        let headers = headers
            .iter()
            .enumerate()
            .filter_map(|(index, header)| self.header(&format!("{path}.headers[{index}]"), header, secrets))
            .collect();
        HttpSettings {
            url: url.clone(),
            method: match method {
                crd::Method::Get => Method::Get,
                crd::Method::Post => Method::Post,
            },
            query: query.clone(),
            body: body.clone(),
            interval: self.parse(&format!("{path}.interval"), interval, Duration::from_secs(0)),
            timeout: self.parse(&format!("{path}.timeout"), timeout, Duration::from_secs(0)),
            headers,
            records: records.clone(),
            records_are: match records_are {
                crd::RecordsAre::Elements => RecordsAre::Elements,
                crd::RecordsAre::Entries => RecordsAre::Entries,
            },
            pagination: pagination
                .as_ref()
                .and_then(|pagination| self.pagination(&format!("{path}.pagination"), pagination)),
            since: since.clone(),
            oauth2: oauth2.as_ref().map(|written| oauth2_settings(written, secrets)),
            max_response: self.parse(&format!("{path}.maxResponse"), max_response, Bytes(0)),
            max_requests_per_second: max_requests_per_minute.map(|per_minute| f64::from(per_minute) / 60.0),
        }
    }

    fn header(
        &mut self,
        path: &str,
        written: &crd::Header,
        secrets: &mut BTreeSet<SecretKey>,
    ) -> Option<HeaderSettings> {
        let value = match (&written.value, &written.value_from, &written.expression) {
            (Some(literal), None, None) => HeaderValue::Literal(literal.clone()),
            (None, Some(from), None) => HeaderValue::File(mounted(&from.secret_key_ref, secrets)),
            (None, None, Some(expression)) => HeaderValue::Expression(expression.clone()),
            _ => {
                self.reject(path, "set exactly one of value, valueFrom and expression");
                return None;
            }
        };
        Some(HeaderSettings { name: written.name.clone(), value })
    }

    fn push(&mut self, path: &str, written: &crd::Push, secrets: &mut BTreeSet<SecretKey>) -> PushSettings {
        let crd::Push { max_body, timeout, token_from } = written;
        PushSettings {
            max_body: self.parse(&format!("{path}.maxBody"), max_body, Bytes(0)),
            timeout: self.parse(&format!("{path}.timeout"), timeout, Duration::from_secs(0)),
            token: token_from.as_ref().map(|from| mounted(&from.secret_key_ref, secrets).into()),
        }
    }

    fn pagination(&mut self, path: &str, written: &crd::Pagination) -> Option<PaginationSettings> {
        let crd::Pagination { by, parameter, pointer, first, max_pages } = written;
        let first = |usual| first.map_or(usual, i64::unsigned_abs);
        let follow = match (by, parameter.clone(), pointer.clone()) {
            (crd::PagesBy::Link, None, None) => FollowPages::Link,
            (crd::PagesBy::Cursor, parameter, Some(pointer)) => FollowPages::Cursor { pointer, parameter },
            (crd::PagesBy::Page, Some(parameter), None) => FollowPages::Page { parameter, first: first(1) },
            (crd::PagesBy::Offset, Some(parameter), None) => FollowPages::Offset { parameter, first: first(0) },
            _ => {
                self.reject(
                    path,
                    "Cursor requires a pointer, Page and Offset require a parameter, and Link has neither",
                );
                return None;
            }
        };
        Some(PaginationSettings { follow, max_pages: max_pages.unsigned_abs() })
    }

    fn files(&mut self, path: &str, written: &crd::Files) -> FilesSettings {
        let crd::Files { claim_name, path: pattern, format, delimiter, interval } = written;
        if let Err(error) = glob::Pattern::new(pattern) {
            self.reject(format!("{path}.path"), format!("'{pattern}' is not a valid glob pattern: {error}"));
        }
        FilesSettings {
            directory: Claim(claim_name.clone()).directory(),
            path: pattern.clone(),
            format: match format {
                crd::FileFormat::JsonLines => FileFormat::JsonLines,
                crd::FileFormat::Csv => FileFormat::Csv,
            },
            delimiter: self.parse(&format!("{path}.delimiter"), delimiter, ','),
            interval: self.parse(&format!("{path}.interval"), interval, Duration::from_secs(0)),
        }
    }

    /// Parses a source of another cluster; `source` is the whole of it.
    fn other_kafka(
        &mut self,
        path: &str,
        written: &crd::KafkaTopic,
        source: &crd::Source,
        names: &Names,
    ) -> KafkaSourceSettings {
        let crd::KafkaTopic { bootstrap_servers, topic, start, group } = written;
        if *topic == source.topic && bootstrap_servers.iter().any(|server| is_own(server, names)) {
            self.reject(
                format!("{path}.topic"),
                format!(
                    "'{topic}' is the topic that the source fills, so its records would be copied in a loop; name \
                     another topic"
                ),
            );
        }
        KafkaSourceSettings {
            bootstrap_servers: bootstrap_servers.clone(),
            topic: topic.clone(),
            group: group.clone().unwrap_or_else(|| names.source_group(&source.name)),
            start: match start {
                crd::StartAt::Earliest => StartAt::Earliest,
                crd::StartAt::Latest => StartAt::Latest,
            },
        }
    }
}

/// Notes that a key of a Secret is to be mounted; returns the path of its file.
fn mounted(reference: &crd::SecretKeyReference, secrets: &mut BTreeSet<SecretKey>) -> String {
    let key = SecretKey { secret: reference.name.clone(), key: reference.key.clone() };
    let file = key.path();
    secrets.insert(key);
    file
}

fn oauth2_settings(written: &crd::OAuth2, secrets: &mut BTreeSet<SecretKey>) -> OAuth2Settings {
    let crd::OAuth2 { token_url, client_id_from, client_secret_from, scope, audience } = written;
    OAuth2Settings {
        token_url: token_url.clone(),
        client_id: mounted(&client_id_from.secret_key_ref, secrets),
        client_secret: mounted(&client_secret_from.secret_key_ref, secrets),
        scope: scope.clone(),
        audience: audience.clone(),
    }
}

/// Returns whether a broker is one of the pipeline's own, by the names that its Services and pods have.
fn is_own(server: &str, names: &Names) -> bool {
    let host = server.rsplit_once(':').map_or(server, |(host, _)| host);
    let mut labels = host.split('.');
    let service = names.component(Component::Kafka);
    let nodes = names.nodes_service(Component::Kafka);
    let first = labels.next().unwrap_or_default();
    let rest: Vec<&str> = labels.collect();
    let is_service = first == service || first == nodes;
    let is_pod = rest.first() == Some(&nodes.as_str());
    let namespace = rest.get(usize::from(is_pod));
    (is_service || is_pod) && namespace.is_none_or(|namespace| *namespace == names.namespace())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use serde_json::{Value, json};

    use super::*;
    use crate::validate::validate_sources;

    /// Returns what is said of a pipeline with one source of every kind after a change at a JSON pointer.
    fn rejected(pointer: &str, value: Value) -> Vec<String> {
        let sample = Path::new(env!("CARGO_MANIFEST_DIR")).join("../e2e/samples/accepted/sources-of-every-kind.yaml");
        let text = std::fs::read_to_string(sample).expect("the sample is there");
        let mut resource: Value = serde_yaml::from_str(&text).expect("the sample is YAML");
        *resource.pointer_mut(pointer).expect("the sample has that") = value;
        let resource = serde_json::from_value(resource).expect("it fits the types");
        validate_sources(&resource).rejected.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn what_only_a_program_can_judge_is_rejected_with_its_path() {
        assert_eq!(rejected("/spec/producer/sources/2/push", json!({})), Vec::<String>::new());
        let glob = rejected("/spec/producer/sources/3/files/path", json!("a***"));
        assert!(
            glob[0].starts_with("spec.producer.sources[3].files.path: 'a***' is not a valid glob pattern: "),
            "{glob:?}"
        );
        let circle = json!({"bootstrapServers": ["users-kafka:9092"], "topic": "users_created"});
        let said = "spec.producer.sources[4].kafka.topic: 'users_created' is the topic that the source fills, so its \
                    records would be copied in a loop; name another topic";
        assert_eq!(rejected("/spec/producer/sources/4/kafka", circle), [said]);
        let elsewhere = json!({"bootstrapServers": ["users-kafka.other.svc:9092"], "topic": "users_created"});
        assert_eq!(rejected("/spec/producer/sources/4/kafka", elsewhere), Vec::<String>::new());
    }

    #[test]
    fn a_source_of_no_kind_and_of_two_is_rejected() {
        let kinds = "set exactly one of http, generator, push, files and kafka";
        let source = |kinds: Value| {
            let mut source = json!({"name": "a", "topic": "users_created", "key": "id"});
            source.as_object_mut().expect("an object").extend(kinds.as_object().cloned().unwrap_or_default());
            source
        };
        for wrong in [json!({}), json!({"push": {}, "generator": {}})] {
            let said = rejected("/spec/producer/sources/2", source(wrong));
            assert_eq!(said, [format!("spec.producer.sources[2]: {kinds}")]);
        }
    }

    #[test]
    fn the_own_brokers_are_known_by_every_name_they_have() {
        let names = Names::new("data", "users");
        for own in [
            "users-kafka:9092",
            "users-kafka.data.svc:9092",
            "users-kafka-0.users-kafka-nodes:9092",
            "users-kafka-1.users-kafka-nodes.data.svc.cluster.local:9092",
        ] {
            assert!(is_own(own, &names), "{own}");
        }
        for other in ["users-kafka.other.svc:9092", "kafka.data.svc:9092", "users-kafka2:9092", "example.com:9092"] {
            assert!(!is_own(other, &names), "{other}");
        }
    }
}
