//! Cassandra's start script, run with all that it calls played: which node a pod becomes, and what a node that runs does when
//! it is told to.

#![expect(clippy::disallowed_methods, reason = "tests read fixtures and the clock")]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;
use tempfile::TempDir;

/// The pod that starts; its address; the address of another.
const POD: &str = "users-cassandra-b-0";
const OWN: &str = "10.0.0.9";
const OTHER: &str = "10.0.0.2";

/// The node that the other one knows by the address 10.0.0.77.
const PEERS: &str = r"
 peer      | host_id
-----------+---------
 10.0.0.77 | 2222-b

(1 rows)";

/// Plays a node that does at once what it is told, and has left the ring after that.
const NODETOOL: &str = r#"[[ $1 == netstats ]] && echo "Mode: DECOMMISSIONED"; echo "nodetool $*""#;

/// A container of a Cassandra pod.
struct Container {
    root: TempDir,
    addresses: String,
    first_node: &'static str,
}

/// What a container did until its server had run for a moment, or until it ended.
struct Ended {
    said: String,
    root: TempDir,
}

impl Container {
    fn new() -> Result<Self> {
        let root = tempfile::tempdir()?;
        let at = |name: &str| root.path().join(name);
        for folder in ["bin", "data", "files", "image", "config"] {
            fs::create_dir(at(folder))?;
        }
        for (file, text) in [
            ("files/cassandra.yaml", "seeds: SEEDS\n"),
            ("files/jvm-server.options", ""),
            ("files/logback.xml", ""),
            ("image/jvm17-server.options", ""),
        ] {
            fs::write(at(file), text)?;
        }
        let container = Self { addresses: format!("{OWN} {OTHER}"), first_node: "users-cassandra-a-0", root };
        container.program("python3", "printf '%s\\n' $ADDRESSES")?;
        container.program("cqlsh", &format!("[[ $1 == {OTHER} ]] && echo '{PEERS}'"))?;
        container.program("nodetool", NODETOOL)?;
        // Ends with all that runs beside it, as the first process of a container does.
        let server = "echo \"server $JVM_EXTRA_OPTS\"; cat \"$CASSANDRA_CONF/cassandra.yaml\"; sleep 1; kill -9 -- -$$";
        container.program("cassandra", server)?;
        Ok(container)
    }

    fn at(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    fn program(&self, name: &str, body: &str) -> Result<()> {
        let path = self.at("bin").join(name);
        fs::write(&path, format!("#!/bin/bash\n{body}\n"))?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
        Ok(())
    }

    /// Has the operator tell of the nodes.
    fn told(self, lines: &[&str]) -> Result<Self> {
        fs::write(self.at("files/nodes"), lines.iter().map(|line| format!("{line}\n")).collect::<String>())?;
        Ok(self)
    }

    /// Puts files on the volume.
    fn holding(self, files: &[(&str, &str)]) -> Result<Self> {
        for (name, text) in files {
            let path = self.at("data").join(name);
            fs::create_dir_all(path.parent().unwrap_or(Path::new("/")))?;
            fs::write(path, text)?;
        }
        Ok(self)
    }

    /// Makes it one whose pod is the only one, and the first of the ring.
    fn alone(self) -> Self {
        Self { addresses: OWN.to_owned(), first_node: POD, ..self }
    }

    /// Starts it.
    fn start(self) -> Result<Ended> {
        let script = include_str!("../src/cassandra/files/start.sh")
            .replace("/var/lib/cassandra", &self.at("data").display().to_string())
            .replace("/millrace", &self.at("files").display().to_string())
            .replace("/etc/cassandra", &self.at("image").display().to_string())
            .replace("sleep 10", "sleep 0.1");
        fs::write(self.at("start.sh"), script)?;
        let path = format!("{}:{}", self.at("bin").display(), std::env::var("PATH")?);
        let output = Command::new("bash")
            .arg(self.at("start.sh"))
            .process_group(0)
            .env("PATH", path)
            .env("HOSTNAME", POD)
            .env("FIRST_NODE", self.first_node)
            .env("POD_IP", OWN)
            .env("NODES_HOST", "nodes")
            .env("DATACENTER", "dc1")
            .env("RACK", "b")
            .env("CASSANDRA_CONF", self.at("config"))
            .env("ADDRESSES", &self.addresses)
            .env_remove("JVM_EXTRA_OPTS")
            .output()?;
        let said = format!("{}{}", String::from_utf8(output.stdout)?, String::from_utf8(output.stderr)?);
        Ok(Ended { said, root: self.root })
    }
}

impl Ended {
    fn says(&self, text: &str) -> bool {
        self.said.contains(text)
    }

    fn holds(&self, name: &str) -> Option<String> {
        fs::read_to_string(self.root.path().join("data").join(name)).ok()
    }

    /// Returns the names of what is on the volume.
    fn volume(&self) -> Result<Vec<String>> {
        let entries = fs::read_dir(self.root.path().join("data"))?;
        let names = entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()));
        names.collect::<Result<_>>()
    }
}

#[test]
fn a_pod_of_no_earlier_node_joins() -> Result<()> {
    let ended = Container::new()?.told(&["users-cassandra-a-0 1111-a wait", "ring 1"])?.start()?;
    assert!(ended.says(&format!("seeds: {OTHER}\n")) && !ended.says("replace_address"), "{}", ended.said);
    Ok(())
}

#[test]
fn an_empty_volume_takes_the_place_of_the_node_at_the_address_that_others_know() -> Result<()> {
    let told = ["users-cassandra-a-0 1111-a wait", "users-cassandra-b-0 2222-b replace"];
    let ended = Container::new()?.told(&told)?.start()?;
    assert!(ended.says("server  -Dcassandra.replace_address_first_boot=10.0.0.77\n"), "{}", ended.said);
    assert!(ended.says(&format!("seeds: {OTHER}\n")), "it asks the others for its rows: {}", ended.said);
    // One that was cut off goes on so, though its volume has something by now.
    assert_eq!(ended.holds("replacing").as_deref(), Some("2222-b\n"));
    let begun = [("data/system/x", ""), ("replacing", "2222-b\n")];
    let again = Container::new()?.told(&told)?.holding(&begun)?.start()?;
    assert!(again.says("replace_address_first_boot=10.0.0.77"), "{}", again.said);
    Ok(())
}

/// It joined, and was stopped before it could note that it had: the pod's node is the new one by now.
#[test]
fn a_node_that_has_taken_a_place_waits_for_no_other_word() -> Result<()> {
    let joined = [("data/system/x", ""), ("replacing", "2222-b\n")];
    let ended = Container::new()?.told(&["users-cassandra-b-0 3333-c wait"])?.holding(&joined)?.start()?;
    assert!(ended.says("server \n") && ended.says(&format!("seeds: {OTHER}\n")), "{}", ended.said);
    Ok(())
}

/// Negative controls: the volume of the node that it was, one that has joined, and a node that nobody knows.
#[test]
fn nothing_is_replaced_that_is_there_or_that_nobody_knows() -> Result<()> {
    let told = ["users-cassandra-b-0 2222-b replace"];
    let same = Container::new()?.told(&told)?.holding(&[("data/system/x", "")])?.start()?;
    assert!(same.says("server \n") && !same.says("replace_address"), "{}", same.said);
    let joined = Container::new()?.told(&told)?.holding(&[("joined", "")])?.start()?;
    assert!(joined.says("server \n") && !joined.says("replace_address"), "{}", joined.said);
    let unknown = Container::new()?.told(&["users-cassandra-b-0 3333-c replace"])?.start()?;
    assert!(unknown.says("no other node says what its address was") && !unknown.says("server"), "{}", unknown.said);
    Ok(())
}

#[test]
fn an_empty_volume_of_the_first_pod_founds_no_second_ring() -> Result<()> {
    let others = Container::new()?.told(&["users-cassandra-a-0 1111-a wait", "ring 1"])?.alone().start()?;
    assert!(others.says("no other node is there") && !others.says("server"), "{}", others.said);
    let new = Container::new()?.alone().start()?;
    assert!(new.says(&format!("seeds: {OWN}\n")), "{}", new.said);
    Ok(())
}

#[test]
fn a_node_leaves_when_it_is_told_and_notes_it_when_it_has() -> Result<()> {
    let told = ["users-cassandra-b-0 2222-b leave"];
    let ended = Container::new()?.told(&told)?.holding(&[("joined", "")])?.start()?;
    assert_eq!(ended.said.matches("nodetool decommission --force").count(), 1, "{}", ended.said);
    assert!(ended.holds("left").is_some());
    assert_eq!(ended.holds("leaving").as_deref(), Some("2222-b\n"));
    // What the tool could not do is asked again, and not noted.
    let busy = Container::new()?.told(&told)?.holding(&[("joined", "")])?;
    busy.program("nodetool", "echo \"nodetool $*\"; false")?;
    let ended = busy.start()?;
    assert!(ended.said.matches("nodetool decommission --force").count() > 1, "{}", ended.said);
    assert_eq!(ended.holds("left"), None);
    // The negative control: one that has yet to join is told nothing.
    let ended = Container::new()?.told(&told)?.holding(&[("data/system/x", "")])?.start()?;
    assert!(!ended.says("nodetool"), "{}", ended.said);
    Ok(())
}

/// Its pod may go as soon as the others have forgotten it, while the tool still waits.
#[test]
fn a_node_notes_that_it_leaves_before_it_does() -> Result<()> {
    let container = Container::new()?.told(&["users-cassandra-b-0 2222-b leave"])?.holding(&[("joined", "")])?;
    let data = container.at("data").display().to_string();
    container.program("nodetool", &format!("echo \"noted $(cat {data}/leaving)\"; sleep 5"))?;
    let ended = container.start()?;
    assert!(ended.says("noted 2222-b\n"), "{}", ended.said);
    assert_eq!((ended.holds("leaving").as_deref(), ended.holds("left")), (Some("2222-b\n"), None));
    Ok(())
}

#[test]
fn a_node_has_not_left_while_its_rows_are_streamed_whatever_the_tool_returns() -> Result<()> {
    let container = Container::new()?.told(&["users-cassandra-b-0 2222-b leave"])?.holding(&[("joined", "")])?;
    let busy = "case $1 in netstats) echo 'Mode: LEAVING' ;; *) echo 'This node is still decommissioning.' ;; esac";
    container.program("nodetool", busy)?;
    let ended = container.start()?;
    assert!(ended.said.matches("still decommissioning").count() > 1, "{}", ended.said);
    assert_eq!(ended.holds("left"), None);
    Ok(())
}

#[test]
fn a_node_that_has_begun_to_leave_goes_on_when_it_is_wanted_again() -> Result<()> {
    let container = Container::new()?.told(&["users-cassandra-b-0 2222-b leave"])?.holding(&[("joined", "")])?;
    let nodes = container.at("files/nodes").display().to_string();
    let fails = format!("echo \"nodetool $*\"; echo 'users-cassandra-b-0 2222-b wait' >{nodes}; false");
    container.program("nodetool", &fails)?;
    let ended = container.start()?;
    assert!(ended.said.matches("nodetool decommission --force").count() > 1, "{}", ended.said);
    Ok(())
}

/// The others know whether a node had left that was stopped on the way: 2222-b they have in their ring, 3333-c not.
#[test]
fn a_node_that_was_stopped_while_it_left_comes_back_only_if_others_still_know_it() -> Result<()> {
    let told = ["users-cassandra-b-0 2222-b wait"];
    let member = [("joined", ""), ("leaving", "2222-b\n"), ("data/system/x", "rows")];
    let ended = Container::new()?.told(&told)?.holding(&member)?.start()?;
    assert!(ended.says(&format!("seeds: {OWN},{OTHER}\n")) && !ended.says("nodetool"), "{}", ended.said);
    assert_eq!((ended.holds("leaving"), ended.holds("left")), (None, None));
    assert_eq!(ended.holds("data/system/x").as_deref(), Some("rows"));

    let forgotten = [("joined", ""), ("leaving", "3333-c\n"), ("data/system/x", "rows")];
    let ended = Container::new()?.holding(&forgotten)?.start()?;
    assert!(ended.says(&format!("seeds: {OTHER}\n")), "it is not its own seed: {}", ended.said);
    let names = ended.volume()?;
    let [aside] = &names[..] else { panic!("there is more than what was set aside: {names:?}") };
    assert_eq!(ended.holds(&format!("{aside}/leaving")).as_deref(), Some("3333-c\n"));
    Ok(())
}

#[test]
fn a_node_that_was_stopped_while_it_left_waits_for_a_whole_answer() -> Result<()> {
    let container = Container::new()?.holding(&[("joined", ""), ("leaving", "2222-b\n")])?;
    let asked = container.at("asked").display().to_string();
    let cut = format!("[[ -e {asked} ]] || {{ touch {asked}; echo ' peer | host_id'; exit; }}; echo '{PEERS}'");
    container.program("cqlsh", &cut)?;
    let ended = container.start()?;
    assert!(ended.says("no other node answers whether it has left"), "{}", ended.said);
    assert!(ended.says(&format!("seeds: {OWN},{OTHER}\n")), "{}", ended.said);
    Ok(())
}

/// It may have waited for days until its pod was wanted again.
#[test]
fn a_node_that_joins_anew_asks_those_that_are_there_by_then() -> Result<()> {
    let container = Container::new()?.holding(&[("joined", ""), ("left", "")])?;
    let now = container.at("now").display().to_string();
    container.program("python3", &format!("cat {now} 2>/dev/null || printf '%s\\n' $ADDRESSES"))?;
    container.program("date", &format!("printf '%s\\n' {OWN} 10.0.0.3 >{now}; echo 1"))?;
    let ended = container.start()?;
    assert!(ended.says("seeds: 10.0.0.3\n"), "{}", ended.said);
    Ok(())
}

#[test]
fn a_volume_whose_node_has_left_joins_as_a_new_one_and_nothing_is_deleted() -> Result<()> {
    let left = [("joined", ""), ("left", ""), ("data/system/x", "rows")];
    let ended = Container::new()?.holding(&left)?.start()?;
    assert!(ended.says(&format!("seeds: {OTHER}\n")), "it is not its own seed: {}", ended.said);
    let names = ended.volume()?;
    let [aside] = &names[..] else { panic!("there is more than what was set aside: {names:?}") };
    assert!(aside.starts_with("left-"), "{aside}");
    assert_eq!(ended.holds(&format!("{aside}/data/system/x")).as_deref(), Some("rows"));
    Ok(())
}

#[test]
fn a_node_cleans_up_once_for_each_ring() -> Result<()> {
    let told = ["users-cassandra-b-0 2222-b wait", "ring new"];
    let ended = Container::new()?.told(&told)?.holding(&[("joined", ""), ("cleaned", "old\n")])?.start()?;
    assert_eq!(ended.said.matches("nodetool cleanup -j 1").count(), 1, "{}", ended.said);
    assert_eq!(ended.holds("cleaned").as_deref(), Some("new\n"));
    // One that has just joined has nothing of others.
    let new = Container::new()?.told(&told)?.holding(&[("joined", "")])?.start()?;
    assert!(!new.says("nodetool"), "{}", new.said);
    assert_eq!(new.holds("cleaned").as_deref(), Some("new\n"));
    Ok(())
}
