//! The OpenAPI document of the API, from the list of routes below and the types themselves.

use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, SchemaGenerator};
use serde_json::{Map, Value, json};

use super::{Problem, actions, history, letters, messages, pipeline, pods, resource, rows, runs, session, trace};

/// Where schemas are defined.
const SCHEMAS: &str = "/components/schemas";
/// What every path of a pipeline begins with; `P` in the list of routes.
const PIPELINE: &str = "/api/v1/namespaces/{namespace}/pipelines/{pipeline}";

/// Returns the document, for `console openapi` and for the page's types.
pub fn json() -> String {
    let mut document = Document::new();
    of_sessions(&mut document);
    of_pipelines(&mut document);
    of_records(&mut document);
    of_runs(&mut document);
    let text = serde_json::to_string_pretty(&document.finished());
    text.expect("a document of our own types can be written") + "\n"
}

fn of_sessions(document: &mut Document) {
    let path = "/api/v1/session";
    document.route("post", path).request::<session::Login>().answer::<session::Session>(200);
    document.route("get", path).answer::<session::Session>(200);
    document.route("delete", path).nothing();
}

fn of_pipelines(document: &mut Document) {
    document.route("get", "/api/v1/pipelines").query::<pipeline::Wanted>().answer::<pipeline::Pipelines>(200);
    document.of_pipeline("get", "").answer::<pipeline::PipelineView>(200);
    document.of_pipeline("get", "/live").text("text/event-stream");
    document.of_pipeline("get", "/history").query::<history::Span>().answer::<history::History>(200);
    document.of_pipeline("post", "/plan/approval").request::<actions::Approval>().answer::<actions::Done>(200);
    document.of_pipeline("get", "/lag").answer::<history::Lag>(200);
    document.of_pipeline("get", "/resource").answer::<resource::Resource>(200);
    document.of_pipeline("get", "/pods").answer::<pods::Pods>(200);
    document.of_pipeline("get", "/pods/{pod}/logs").query::<pods::LogQuery>().text("text/plain");
    document.of_pipeline("get", "/pods/{pod}/logs/follow").query::<pods::LogQuery>().text("text/event-stream");
    document.of_pipeline("get", "/events").answer::<pods::Events>(200);
    // What streams send.
    document.define::<history::Sample>();
    document.define::<pods::LogLines>();
}

fn of_records(document: &mut Document) {
    document.of_pipeline("get", "/topics").answer::<messages::Topics>(200);
    let messages = "/topics/{topic}/messages";
    document.of_pipeline("get", messages).query::<messages::Query>().answer::<messages::Messages>(200);
    let file = "/topics/{topic}/messages/file";
    document.of_pipeline("get", file).query::<messages::Query>().text("application/x-ndjson");
    document.of_pipeline("get", "/topics/{topic}/tail").query::<messages::Filter>().text("text/event-stream");
    document.define::<messages::TailBatch>();
    document.of_pipeline("get", "/tables").answer::<rows::Tables>(200);
    document.of_pipeline("get", "/tables/{table}/rows").query::<rows::Query>().answer::<rows::Rows>(200);
    document.of_pipeline("get", "/dead-letters").query::<letters::Query>().answer::<letters::DeadLetters>(200);
    let redrive = "/dead-letters/redrive";
    document.of_pipeline("post", redrive).request::<letters::Redrive>().answer::<letters::RedriveAnswer>(200);
    document.of_pipeline("get", "/trace").query::<trace::Query>().answer::<trace::Trace>(200);
}

fn of_runs(document: &mut Document) {
    document.of_pipeline("get", "/runs").answer::<runs::Runs>(200);
    document.of_pipeline("get", "/runs/{run}").answer::<runs::Run>(200);
    document.of_pipeline("post", "/runs").request::<runs::Trigger>().answer::<actions::Done>(201);
    document.of_pipeline("post", "/runs/{run}/cancel").answer::<actions::Done>(200);
    document.of_pipeline("post", "/runs/{run}/rerun").answer::<actions::Done>(201);
    document.of_pipeline("post", "/backfills").request::<runs::Backfill>().answer::<runs::BackfillAnswer>(200);
    document.of_pipeline("put", "/sources/{source}/paused").request::<runs::Paused>().answer::<actions::Done>(200);
}

/// A document in the making. What is asked and what is answered have schemas of their own: an absent field of a request
/// may be left out, one of an answer is null.
struct Document {
    paths: Map<String, Value>,
    asked: SchemaGenerator,
    answered: SchemaGenerator,
}

impl Document {
    fn new() -> Self {
        let settings = || {
            SchemaSettings::draft2020_12().with(|settings| {
                settings.definitions_path = SCHEMAS.into();
                settings.meta_schema = None;
            })
        };
        Self {
            paths: Map::new(),
            asked: settings().for_deserialize().into_generator(),
            answered: settings().for_serialize().into_generator(),
        }
    }

    fn of_pipeline(&mut self, method: &'static str, rest: &str) -> Operation<'_> {
        self.route(method, &format!("{PIPELINE}{rest}"))
    }

    fn route(&mut self, method: &'static str, path: &str) -> Operation<'_> {
        let names = path.split('{').skip(1).filter_map(|part| part.split_once('}')).map(|(name, _)| name);
        let parameters =
            names.map(|name| json!({"name": name, "in": "path", "required": true, "schema": {"type": "string"}}));
        Operation { parameters: parameters.collect(), document: self, method, path: path.to_owned(), body: None }
    }

    /// Describes a type that no route answers with as a whole.
    fn define<T: JsonSchema>(&mut self) {
        self.answered.subschema_for::<T>();
    }

    fn finished(mut self) -> Value {
        let mut schemas = self.asked.take_definitions(true);
        schemas.extend(self.answered.take_definitions(true));
        json!({
            "openapi": "3.1.0",
            "info": {
                "title": "Millrace console",
                "description": "Everything is JSON; unknown is null, never 0. Rates are per second. Whatever changes something wants the header x-millrace-csrf.",
                "version": env!("CARGO_PKG_VERSION"),
            },
            "paths": self.paths,
            "components": {"schemas": schemas},
        })
    }
}

/// A route in the making.
struct Operation<'a> {
    document: &'a mut Document,
    method: &'static str,
    path: String,
    parameters: Vec<Value>,
    body: Option<Value>,
}

impl Operation<'_> {
    /// Takes the fields of a type as parameters of the query.
    fn query<T: JsonSchema>(mut self) -> Self {
        let schema = T::json_schema(&mut self.document.asked).to_value();
        let is_required = |name: &String| {
            let required = schema["required"].as_array().into_iter().flatten();
            required.into_iter().any(|required| required == name)
        };
        for (name, property) in schema["properties"].as_object().into_iter().flatten() {
            let mut property = property.clone();
            let description = property.as_object_mut().and_then(|fields| fields.remove("description"));
            self.parameters.push(json!({
                "name": name, "in": "query", "required": is_required(name), "description": description, "schema": property,
            }));
        }
        self
    }

    fn request<T: JsonSchema>(mut self) -> Self {
        let schema = self.document.asked.subschema_for::<T>();
        self.body = Some(json!({"required": true, "content": {"application/json": {"schema": schema}}}));
        self
    }

    fn answer<T: JsonSchema>(self, status: u16) {
        let schema = self.document.answered.subschema_for::<T>().to_value();
        self.ended(status, "application/json", schema);
    }

    fn text(self, content_type: &str) {
        self.ended(200, content_type, json!({"type": "string"}));
    }

    fn nothing(self) {
        self.put(204, json!({"description": "done"}));
    }

    fn ended(self, status: u16, content_type: &str, schema: Value) {
        self.put(status, json!({"description": "the answer", "content": {content_type: {"schema": schema}}}));
    }

    fn put(self, status: u16, answer: Value) {
        let Self { document, method, path, parameters, body } = self;
        let problem = document.answered.subschema_for::<Problem>().to_value();
        let refused = json!({"description": "why not", "content": {"application/problem+json": {"schema": problem}}});
        let mut responses = Map::new();
        responses.insert(status.to_string(), answer);
        responses.insert("default".to_owned(), refused);
        let mut operation = json!({"parameters": parameters, "responses": responses});
        if let Some(body) = body {
            operation["requestBody"] = body;
        }
        let methods = document.paths.entry(path).or_insert_with(|| json!({}));
        methods[method] = operation;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The routes as `api.rs` lists them.
    fn listed() -> Vec<(String, String)> {
        let text = include_str!("../api.rs");
        let words =
            |line: &str| line.trim_start_matches("//!").split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        let lines = text.lines().map(words).filter(|words| words.len() > 1);
        lines
            .filter(|words| ["GET", "POST", "PUT", "DELETE"].contains(&words[0].as_str()))
            .map(|words| {
                let of_pipeline = words[1].strip_prefix('P').map(|rest| format!("{PIPELINE}{rest}"));
                (words[0].to_lowercase(), of_pipeline.unwrap_or_else(|| words[1].clone()))
            })
            .filter(|(_, path)| !path.ends_with("openapi.json"))
            .collect()
    }

    #[test]
    fn describes_every_route_that_is_listed_and_no_other() {
        let document: Value = serde_json::from_str(&json()).expect("JSON");
        let mut described: Vec<(String, String)> = Vec::new();
        for (path, methods) in document["paths"].as_object().expect("paths") {
            let methods = methods.as_object().expect("methods").keys();
            described.extend(methods.map(|method| (method.clone(), path.clone())));
        }
        let mut listed = listed();
        listed.sort();
        described.sort();
        assert_eq!(described, listed);
        assert!(listed.len() > 25);
    }

    #[test]
    fn every_reference_leads_somewhere() {
        let text = json();
        let document: Value = serde_json::from_str(&text).expect("JSON");
        let references = text.split("\"$ref\": \"#").skip(1).filter_map(|rest| rest.split_once('"'));
        let mut count = 0;
        for (pointer, _) in references {
            assert!(document.pointer(pointer).is_some(), "{pointer}");
            count += 1;
        }
        assert!(count > 50);
    }

    #[test]
    fn the_document_that_the_page_is_built_from_is_this_one() {
        assert_eq!(include_str!("../../web/openapi.json"), json(), "run `make console-page`");
    }
}
