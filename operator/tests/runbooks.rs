//! Every command of the runbooks that runs in a pod names a program that the contract of the pod's image promises
//! (docs/images.md): what works in one supplier's image only cannot be relied on at night.

#![expect(clippy::disallowed_methods, reason = "tests read fixtures and the clock")]

use std::collections::BTreeSet;

/// Of coreutils, which every image has, what runbooks use.
const COREUTILS: [&str; 4] = ["cat", "env", "ls", "touch"];

/// Headings of the contract by what names of pods contain.
const SECTIONS: [(&str, &str); 3] =
    [("-zookeeper", "### ZooKeeper,"), ("-kafka", "### Kafka,"), ("-cassandra", "### Cassandra,")];

fn page(name: &str) -> String {
    let path = format!("{}/../docs/{name}.md", env!("CARGO_MANIFEST_DIR"));
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Returns the lines of a page's blocks of code, and its code within sentences.
fn code(page: &str) -> Vec<String> {
    let mut code = Vec::new();
    for (index, part) in page.split("```").enumerate() {
        if index % 2 == 1 {
            code.extend(part.lines().map(str::to_owned));
        } else {
            let part = part.replace('\n', " ");
            code.extend(part.split('`').skip(1).step_by(2).map(str::to_owned));
        }
    }
    code
}

/// Returns the programs that a pod's image has by contract.
fn programs(images: &str, pod: &str) -> BTreeSet<String> {
    if pod.contains("-processor") || pod.contains("-producer") {
        return BTreeSet::from(["worker".to_owned()]);
    }
    let mut programs: BTreeSet<String> = COREUTILS.map(str::to_owned).into();
    let Some((_, heading)) = SECTIONS.into_iter().find(|(part, _)| pod.contains(part)) else { return programs };
    let section = images.split(heading).nth(1).and_then(|rest| rest.split("\n#").next()).unwrap_or_default();
    for word in code(section) {
        match word.split_once('{').and_then(|(stem, rest)| Some((stem, rest.split_once('}')?))) {
            Some((stem, (names, end))) => programs.extend(names.split(',').map(|name| format!("{stem}{name}{end}"))),
            None => programs.extend(word.split_whitespace().map(str::to_owned)),
        }
    }
    programs
}

/// Returns the commands of a page that run in pods and name a program that is not there.
fn unknown(page: &str, images: &str) -> Vec<String> {
    let mut unknown = Vec::new();
    for command in code(page).iter().filter(|command| command.contains("kubectl exec")) {
        let (target, program) = command.split_once(" -- ").unwrap_or((command.as_str(), ""));
        let mut words = program.split_whitespace().skip_while(|word| *word == "env" || word.contains('='));
        let is_there = words.next().is_some_and(|program| programs(images, target).contains(program));
        if !is_there {
            unknown.push(command.clone());
        }
    }
    unknown
}

#[test]
fn commands_of_the_runbooks_run_in_every_image_that_keeps_the_contract() {
    let (runbooks, images) = (page("runbooks"), page("images"));
    let commands = code(&runbooks).iter().filter(|command| command.contains("kubectl exec")).count();
    assert!(commands >= 4, "only {commands} commands are found");
    assert_eq!(unknown(&runbooks, &images), [""; 0]);
}

/// Negative control: a program of the official image alone is found, wherever it stands.
#[test]
fn a_program_that_no_contract_promises_is_found() {
    let images = page("images");
    let gone = "kubectl exec NAME-kafka-0 -- /opt/kafka/bin/zookeeper-shell.sh NAME-zookeeper:2181 delete /controller";
    assert_eq!(unknown(&format!("| a | `{gone}` |"), &images), [gone]);
    assert_eq!(unknown(&format!("```sh\n{gone}\n```"), &images), [gone]);
    let there = "kubectl exec NAME-kafka-0 -- /opt/kafka/bin/kafka-topics.sh --list";
    assert_eq!(unknown(&format!("`{there}`"), &images), [""; 0]);
}
