//! What brokers are set to, whether each would take other values while it runs, and the change for all of them.
//!
//! Only a broker itself knows its values; what is set for all of them, each knows. Where nothing is set so and nothing is to
//! change, an idle pass asks one thing more.

use std::collections::{BTreeMap, BTreeSet};

use kafka_protocol::ResponseError;
use kafka_protocol::messages::describe_configs_request::DescribeConfigsResource;
use kafka_protocol::messages::describe_configs_response::DescribeConfigsResourceResult;
use kafka_protocol::messages::incremental_alter_configs_request::AlterConfigsResource;
use kafka_protocol::messages::{DescribeConfigsRequest, DescribeConfigsResponse, IncrementalAlterConfigsRequest};
use kafka_protocol::protocol::StrBytes;

use super::change::{ConfigChange, DELETE, SET, alterable};
use super::reassign::BROKER_RESOURCE;
use super::{AskKafka, Kafka, reason_of, refused_by, version};

/// Name that stands for all brokers.
const ALL_BROKERS: &str = "";
/// `config_source` of a value that was set for one broker while it ran.
const OF_ONE_BROKER: i8 = 2;
/// `config_source` of a value of the broker's file.
const OF_FILE: i8 = 4;
/// `config_source` of Kafka's own default.
const DEFAULT: i8 = 5;

/// What is asked of the brokers' settings.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SettingsQuestion {
    /// Keys whose values matter.
    pub keys: BTreeSet<String>,
    /// Values that all brokers might be given while they run. Empty: none.
    pub change: BTreeMap<String, String>,
    /// Whether brokers may run with other values than those that they began with, so that each is asked in any case.
    pub may_differ: bool,
}

/// What the brokers say of their settings.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SettingsFacts {
    /// Values that were set for all brokers; those that Kafka does not show are left out.
    pub for_all: BTreeMap<String, String>,
    /// What each broker says, by id; those that do not answer are left out. Empty, too, where nothing depends on it.
    pub brokers: BTreeMap<i32, BrokerSettings>,
}

/// What one broker says of its settings.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct BrokerSettings {
    /// The settings that were asked for, by key; those that it does not know are left out.
    pub settings: BTreeMap<String, Setting>,
    /// Whether it would take the change while it runs, or what it says instead. `None`: it was not asked.
    pub answer: Option<Result<(), String>>,
}

/// A setting of one broker.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Setting {
    /// The value in force. `None`: Kafka does not show it.
    pub value: Option<String>,
    /// The value of its file, or Kafka's default, over which others were set while it ran. `None`: Kafka does not show it.
    pub begun_with: Option<String>,
    /// Whether only a start changes it.
    pub is_read_only: bool,
    /// Whether it was set for this broker alone.
    pub is_own: bool,
}

impl Kafka {
    /// Reads what these brokers are set to.
    pub async fn settings(
        &mut self,
        question: &SettingsQuestion,
        brokers: &BTreeSet<i32>,
    ) -> Result<SettingsFacts, AskKafka> {
        let answer = self.ask_any(&described(ALL_BROKERS, None), version::DESCRIBE_CONFIGS).await?;
        let for_all = configs_of(answer, "all brokers")?.into_iter();
        let for_all = for_all.filter_map(|config| Some((config.name.to_string(), config.value?.to_string())));
        let mut facts = SettingsFacts { for_all: for_all.collect(), ..SettingsFacts::default() };
        if facts.for_all.is_empty() && question.change.is_empty() && !question.may_differ {
            return Ok(facts);
        }
        let keys: BTreeSet<&String> =
            question.keys.iter().chain(question.change.keys()).chain(facts.for_all.keys()).collect();
        let keys: Vec<StrBytes> = keys.into_iter().map(|key| StrBytes::from_string(key.clone())).collect();
        for broker in brokers {
            if let Ok(found) = self.settings_of(*broker, &keys, &question.change).await {
                facts.brokers.insert(*broker, found);
            }
        }
        Ok(facts)
    }

    async fn settings_of(
        &mut self,
        broker: i32,
        keys: &[StrBytes],
        change: &BTreeMap<String, String>,
    ) -> Result<BrokerSettings, AskKafka> {
        let request = described(&broker.to_string(), Some(keys.to_vec()));
        let answer = self.ask_broker(broker, &request, version::DESCRIBE_CONFIGS).await?;
        let configs = configs_of(answer, &format!("broker {broker}"))?.into_iter();
        let settings = configs.map(|config| (config.name.to_string(), setting(config))).collect();
        let answer = match change.is_empty() {
            true => None,
            false => Some(self.would_take(broker, change).await?),
        };
        Ok(BrokerSettings { settings, answer })
    }

    /// Asks a broker whether it would take values while it runs. What keeps it from an answer is none.
    async fn would_take(
        &mut self,
        broker: i32,
        change: &BTreeMap<String, String>,
    ) -> Result<Result<(), String>, AskKafka> {
        let change = ConfigChange { set: change.clone(), ..ConfigChange::default() };
        let request = altered(&change).with_validate_only(true);
        let answer = self.ask_broker(broker, &request, version::ALTER_CONFIGS).await?;
        let refusals = [ResponseError::InvalidConfig, ResponseError::InvalidRequest, ResponseError::PolicyViolation];
        for result in answer.responses {
            if refusals.iter().any(|refusal| refusal.code() == result.error_code) {
                return Ok(Err(reason_of(result.error_code, result.error_message)));
            }
            refused_by(result.error_code, result.error_message, || format!("to try settings of broker {broker}"))?;
        }
        Ok(Ok(()))
    }

    /// Sets and unsets values for all brokers; where Kafka refuses that at once, makes the other change instead.
    pub(super) async fn alter_brokers(
        &mut self,
        config: &ConfigChange,
        otherwise: &ConfigChange,
    ) -> Result<(), AskKafka> {
        match self.alter_for_all(config).await {
            Err(AskKafka::Change { .. }) if !otherwise.is_empty() => self.alter_for_all(otherwise).await,
            done => done,
        }
    }

    async fn alter_for_all(&mut self, config: &ConfigChange) -> Result<(), AskKafka> {
        let answer = self.ask_any(&altered(config), version::ALTER_CONFIGS).await?;
        for result in answer.responses {
            refused_by(result.error_code, result.error_message, || "settings of all brokers".to_owned())?;
        }
        Ok(())
    }
}

/// Returns the change in words, such as `set num.io.threads=16 on all brokers, without a restart`.
pub(super) fn describe(config: &ConfigChange) -> String {
    let set: Vec<String> = config.set.iter().map(|(key, value)| format!("{key}={value}")).collect();
    let unset: Vec<&str> = config.unset.iter().map(String::as_str).collect();
    let set = (!set.is_empty()).then(|| format!("set {}", set.join(", ")));
    let unset = (!unset.is_empty()).then(|| format!("unset {}", unset.join(", ")));
    let steps: Vec<String> = set.into_iter().chain(unset).collect();
    format!("{} on all brokers, without a restart", steps.join(" and "))
}

/// Returns the question for a broker's settings, or for those of all. `None`: all keys.
fn described(broker: &str, keys: Option<Vec<StrBytes>>) -> DescribeConfigsRequest {
    let resource = DescribeConfigsResource::default()
        .with_resource_type(BROKER_RESOURCE)
        .with_resource_name(StrBytes::from_string(broker.to_owned()))
        .with_configuration_keys(keys);
    DescribeConfigsRequest::default().with_resources(vec![resource]).with_include_synonyms(true)
}

fn altered(config: &ConfigChange) -> IncrementalAlterConfigsRequest {
    let set = config.set.iter().map(|(key, value)| alterable(key, SET, Some(value)));
    let unset = config.unset.iter().map(|key| alterable(key, DELETE, None));
    let resource = AlterConfigsResource::default()
        .with_resource_type(BROKER_RESOURCE)
        .with_resource_name(StrBytes::from_static_str(ALL_BROKERS))
        .with_configs(set.chain(unset).collect());
    IncrementalAlterConfigsRequest::default().with_resources(vec![resource])
}

fn configs_of(answer: DescribeConfigsResponse, whose: &str) -> Result<Vec<DescribeConfigsResourceResult>, AskKafka> {
    let mut configs = Vec::new();
    for result in answer.results {
        refused_by(result.error_code, result.error_message, || format!("to return the settings of {whose}"))?;
        configs.extend(result.configs);
    }
    Ok(configs)
}

fn setting(config: DescribeConfigsResourceResult) -> Setting {
    let is_own = config.config_source == OF_ONE_BROKER;
    // Those of other names, such as log.retention.hours of log.retention.ms, have other units.
    let mut beneath = config.synonyms.into_iter().filter(|synonym| synonym.name == config.name);
    let begun_with = beneath.find(|synonym| matches!(synonym.source, OF_FILE | DEFAULT));
    Setting {
        value: config.value.map(|value| value.to_string()),
        begun_with: begun_with.and_then(|synonym| Some(synonym.value?.to_string())),
        is_read_only: config.read_only,
        is_own,
    }
}

#[cfg(test)]
mod tests {
    use kafka_protocol::messages::describe_configs_response::DescribeConfigsSynonym;

    use super::*;

    fn text(text: &'static str) -> StrBytes {
        StrBytes::from_static_str(text)
    }

    fn synonym(name: &'static str, value: &'static str, source: i8) -> DescribeConfigsSynonym {
        DescribeConfigsSynonym::default().with_name(text(name)).with_value(Some(text(value))).with_source(source)
    }

    /// As `kafka-configs.sh --describe --all` shows a value: `synonyms={DYNAMIC_DEFAULT_BROKER_CONFIG:num.io.threads=16,
    /// STATIC_BROKER_CONFIG:num.io.threads=4, DEFAULT_CONFIG:num.io.threads=8}`.
    #[test]
    fn a_value_that_was_set_for_all_has_that_of_the_file_beneath_it() {
        let config = DescribeConfigsResourceResult::default()
            .with_name(text("num.io.threads"))
            .with_value(Some(text("16")))
            .with_config_source(3)
            .with_synonyms(vec![
                synonym("num.io.threads", "16", 3),
                synonym("num.io.threads", "4", OF_FILE),
                synonym("num.io.threads", "8", DEFAULT),
            ]);
        let found = setting(config);
        assert_eq!((found.value.as_deref(), found.begun_with.as_deref()), (Some("16"), Some("4")));
        assert!(!found.is_own && !found.is_read_only);
    }

    #[test]
    fn a_value_in_other_units_is_not_the_one_beneath() {
        let config = DescribeConfigsResourceResult::default()
            .with_name(text("log.retention.ms"))
            .with_value(None)
            .with_config_source(OF_ONE_BROKER)
            .with_synonyms(vec![synonym("log.retention.hours", "168", DEFAULT)]);
        let found = setting(config);
        assert_eq!((found.value, found.begun_with, found.is_own), (None, None, true));
    }

    #[test]
    fn a_change_says_that_nothing_restarts() {
        let set = [("num.io.threads".to_owned(), "16".to_owned())].into();
        let mut change = ConfigChange { set, ..ConfigChange::default() };
        assert_eq!(describe(&change), "set num.io.threads=16 on all brokers, without a restart");
        change.unset.insert("log.retention.ms".to_owned());
        let both = "set num.io.threads=16 and unset log.retention.ms on all brokers, without a restart";
        assert_eq!(describe(&change), both);
    }

    /// The empty name is what makes it one of all brokers; a null one would be refused.
    #[test]
    fn a_change_is_for_all_brokers_by_the_empty_name() {
        let request = altered(&ConfigChange { unset: ["a".to_owned()].into(), ..ConfigChange::default() });
        let [resource] = &request.resources[..] else { panic!("{:?}", request.resources) };
        assert_eq!((resource.resource_type, resource.resource_name.as_str()), (BROKER_RESOURCE, ""));
        assert_eq!((resource.configs[0].config_operation, resource.configs[0].value.clone()), (DELETE, None));
        assert!(!request.validate_only);
    }
}
