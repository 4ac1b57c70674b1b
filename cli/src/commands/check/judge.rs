//! Facts → a line for each check: what was found, and what to do. Pure.

use kube::CustomResourceExt;
use millrace_api::{IngestionRun, StreamingPipeline};

use super::cluster::{install_rights, pod_security, server_version, storage};
use super::facts::{DEFINITIONS, Facts, Known};
use super::installed::{definition, policies, running};
use super::line::{Line, line, read};
use super::nodes::room;
use super::webhooks::webhooks;

/// Judges the cluster. What does not answer is one line, since nothing else is known then.
pub(super) fn judge(facts: &Facts) -> Vec<Line> {
    let Some(objects) = &facts.objects else {
        let reason = match &facts.version {
            Known::Failed(reason) => reason.clone(),
            Known::Read(_) | Known::Forbidden(_) => "it does not answer".to_owned(),
        };
        let fix = "check the address and the credentials of the kubeconfig: kubectl version";
        return vec![Line::failed("API server", format!("{}: {reason}", facts.server), fix)];
    };
    let is_installed = match &objects.operators {
        Known::Read(operators) => Some(!operators.is_empty()),
        Known::Forbidden(_) | Known::Failed(_) => None,
    };
    let mut lines = vec![
        Line::ok("API server", format!("{} answers", facts.server)),
        line(read("server version", &facts.version).map(server_version)),
        install_rights(objects, is_installed),
        line(read("storage class", &objects.classes).map(|classes| storage(classes, facts.storage_class.as_deref()))),
        line(read("nodes", &objects.nodes).map(|nodes| room(nodes))),
        line(read("namespace", &objects.place).map(|place| pod_security(place.as_ref(), &facts.namespace))),
    ];
    let ours = [StreamingPipeline::crd(), IngestionRun::crd()];
    for ((name, known), ours) in DEFINITIONS.into_iter().zip(&objects.definitions).zip(&ours) {
        let check = format!("definition {name}");
        lines.push(line(read(&check, known).map(|found| definition(&check, found.as_ref(), ours, is_installed))));
    }
    match read("operator", &objects.operators) {
        Ok(operators) => lines.extend(running(operators, objects, &facts.release_namespace)),
        Err(not_checked) => lines.push(not_checked),
    }
    if is_installed != Some(false) {
        lines.push(line(policies(objects)));
    }
    lines.push(line(webhooks(objects, &facts.namespace)));
    lines
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::facts::Objects;
    use super::super::fixtures::{class, established, node, of, operator, version};
    use super::super::installed::{POLICIES, VERSION};
    use super::super::line::State;
    use super::*;

    /// Returns a cluster in which Millrace is installed and well.
    fn good() -> Facts {
        let policies = POLICIES.map(|(ending, _)| format!("millrace-system.millrace.{ending}"));
        let image = format!("millrace/operator:{VERSION}");
        let objects = Objects {
            rights: vec![("create deployments".to_owned(), Known::Read(true))],
            escalate: Known::Read(true),
            classes: Known::Read(vec![class("fast", false, None), class("standard", true, Some(true))]),
            nodes: Known::Read(vec![node("4", "8Gi", json!({}))]),
            place: Known::Read(Some(of(json!({"metadata": {"name": "shop"}})))),
            definitions: [
                Known::Read(Some(established(StreamingPipeline::crd()))),
                Known::Read(Some(established(IngestionRun::crd()))),
            ],
            operators: Known::Read(vec![operator(&image, 2)]),
            policies: Known::Read(policies.iter().map(|name| of(json!({"metadata": {"name": name}}))).collect()),
            bindings: Known::Read(
                policies
                    .iter()
                    .map(|name| of(json!({"metadata": {"name": name}, "spec": {"policyName": name}})))
                    .collect(),
            ),
            mutating: Known::Read(Vec::new()),
            validating: Known::Read(Vec::new()),
        };
        Facts {
            namespace: "shop".to_owned(),
            release_namespace: "millrace-system".to_owned(),
            storage_class: None,
            server: "https://10.0.0.1:6443/".to_owned(),
            version: Known::Read(version("1", "34")),
            objects: Some(objects),
        }
    }

    /// Returns the line of a check after a change of the good cluster.
    fn after(change: impl FnOnce(&mut Objects), check: &str) -> Line {
        let mut facts = good();
        change(facts.objects.as_mut().expect("there are objects"));
        judge(&facts).into_iter().find(|line| line.check.starts_with(check)).expect("the check is made")
    }

    #[test]
    fn a_good_cluster_passes_every_check() {
        let lines = judge(&good());
        let bad: Vec<&Line> = lines.iter().filter(|line| line.state != State::Ok).collect();
        assert_eq!(bad, Vec::<&Line>::new());
        assert_eq!(lines.len(), 11);
    }

    #[test]
    fn what_is_wrong_is_found_by_its_check() {
        let cases: [(Line, State, &str); 14] = [
            (after(|o| o.rights[0].1 = Known::Read(false), "rights"), State::Warning, "you may not create deployments"),
            (after(|o| o.escalate = Known::Read(false), "rights"), State::Warning, "do not have yourself"),
            (after(|o| o.classes = Known::Read(vec![]), "storage"), State::Failed, "no StorageClass"),
            (
                after(|o| o.classes = Known::Read(vec![class("fast", false, None)]), "storage"),
                State::Warning,
                "default",
            ),
            (
                after(|o| o.classes = Known::Read(vec![class("a", true, None)]), "storage"),
                State::Warning,
                "cannot grow",
            ),
            (after(|o| o.nodes = Known::Read(vec![node("4", "1Gi", json!({}))]), "nodes"), State::Failed, "cassandra"),
            (after(|o| o.place = Known::Read(None), "namespace"), State::Failed, "no namespace 'shop'"),
            (after(|o| o.definitions[0] = Known::Read(None), "definition streaming"), State::Failed, "missing"),
            (
                after(|o| o.definitions[0] = Known::Read(Some(StreamingPipeline::crd())), "definition streaming"),
                State::Failed,
                "not established",
            ),
            (after(|o| o.operators = Known::Read(vec![]), "operator"), State::Failed, "not installed"),
            (after(|o| o.operators = Known::Read(vec![operator("o:1", 0)]), "operator"), State::Failed, "0 of 2"),
            (after(|o| o.operators = Known::Read(vec![operator("o:9.9.9", 2)]), "operator"), State::Warning, "9.9.9"),
            (after(|o| o.operators = Known::Read(vec![operator("o:main", 1)]), "operator"), State::Warning, "1 of 2"),
            (after(|o| o.bindings = Known::Read(vec![]), "admission"), State::Warning, "requested-by, references"),
        ];
        for (line, state, found) in cases {
            assert_eq!(line.state, state, "{line:?}");
            assert!(line.found.contains(found), "{line:?}");
            assert!(line.fix.is_some(), "{line:?}");
        }
    }

    #[test]
    fn what_may_not_be_read_is_not_checked_and_says_so() {
        let forbidden = after(|o| o.nodes = Known::Forbidden("list nodes".to_owned()), "nodes");
        assert_eq!(
            (forbidden.state, forbidden.found.as_str()),
            (State::NotChecked, "not checked: no right to list nodes")
        );
        let failed = after(|o| o.classes = Known::Failed("cannot list storageclasses: timeout".to_owned()), "storage");
        assert_eq!(failed.found, "not checked: cannot list storageclasses: timeout");
    }

    #[test]
    fn before_installation_nothing_fails_for_not_being_there() {
        let mut facts = good();
        if let Some(objects) = &mut facts.objects {
            objects.definitions = [Known::Read(None), Known::Read(None)];
            objects.operators = Known::Read(Vec::new());
            objects.policies = Known::Read(Vec::new());
        }
        let lines = judge(&facts);
        assert!(lines.iter().all(|line| line.state != State::Failed), "{lines:?}");
        assert_eq!(lines.iter().filter(|line| line.state == State::Warning).count(), 3);
        // Control: a right that is missing does then fail.
        if let Some(objects) = &mut facts.objects {
            objects.rights[0].1 = Known::Read(false);
        }
        assert!(judge(&facts).iter().any(|line| line.check == "rights to install" && line.state == State::Failed));
    }

    #[test]
    fn a_server_that_does_not_answer_is_all_there_is_to_say() {
        let facts = Facts { version: Known::Failed("connection refused".to_owned()), objects: None, ..good() };
        let lines = judge(&facts);
        assert_eq!(lines.len(), 1);
        assert_eq!(
            (lines[0].state, lines[0].found.as_str()),
            (State::Failed, "https://10.0.0.1:6443/: connection refused")
        );
    }
}
