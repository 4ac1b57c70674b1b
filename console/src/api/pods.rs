//! Pods, their logs, and events.

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Moment;

/// The pods of a pipeline, those of its runs included.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize, JsonSchema)]
pub struct Pods {
    /// The pods, by component and name.
    pub pods: Vec<Pod>,
    /// The command that shows the same.
    pub kubectl: String,
}

/// A pod.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Pod {
    /// Name.
    pub name: String,
    /// `zookeeper`, `kafka`, `cassandra`, `producer`, `processor` or `run`.
    pub component: String,
    /// The run whose attempt it is. `null`: none.
    pub run: Option<String>,
    /// Pending, Running, Succeeded, Failed or Unknown.
    pub phase: String,
    /// Whether it is ready.
    pub ready: bool,
    /// Whether it is being deleted.
    pub terminating: bool,
    /// Why it is not running, such as `ImagePullBackOff`. `null`: it is, or nobody says.
    pub reason: Option<String>,
    /// Node that it runs on. `null`: none yet.
    pub node: Option<String>,
    /// When it was created.
    #[schemars(with = "Moment")]
    pub created: DateTime<Utc>,
    /// Its containers, the initial ones first.
    pub containers: Vec<Container>,
}

/// A container of a pod.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Container {
    /// Name.
    pub name: String,
    /// Image.
    pub image: String,
    /// Whether it runs before the others.
    pub initial: bool,
    /// `Waiting`, `Running` or `Terminated`. `null`: unknown.
    pub state: Option<String>,
    /// Why it waits or has ended. `null`: nobody says.
    pub reason: Option<String>,
    /// How often it was restarted.
    pub restarts: i32,
    /// Whether there are logs of the container before it.
    pub previous: bool,
}

/// Which part of a log is wanted.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LogQuery {
    /// Container. Absent: the first that is not initial.
    pub container: Option<String>,
    /// Whether that of the container before is wanted.
    #[serde(default)]
    pub previous: bool,
    /// The last so many lines, 1 to 10000. Absent: 1000.
    pub tail: Option<u32>,
    /// Only the last so many seconds. Absent: any.
    pub since_seconds: Option<u32>,
    /// Only lines that contain this text, in any case of letters.
    pub contains: Option<String>,
}

/// Lines of a log, each with its time in front as Kubernetes writes it.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize, JsonSchema)]
pub struct LogLines {
    /// The lines, oldest first.
    pub lines: Vec<String>,
}

/// Events of a pipeline, its pods and its runs.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize, JsonSchema)]
pub struct Events {
    /// The events, newest first.
    pub events: Vec<Event>,
    /// The command that shows the same.
    pub kubectl: String,
}

/// An event.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Event {
    /// When it last happened. `null`: unknown.
    #[schemars(with = "Option<Moment>")]
    pub time: Option<DateTime<Utc>>,
    /// `Normal` or `Warning`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Stable reason.
    pub reason: String,
    /// What it is about, such as `Pod/users-kafka-0`.
    pub object: String,
    /// What happened.
    pub message: String,
    /// How often.
    pub count: i32,
}
