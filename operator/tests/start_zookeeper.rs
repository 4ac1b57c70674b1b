//! ZooKeeper's start script, run with the server played: which list of servers it starts with.

#![expect(clippy::disallowed_methods, reason = "tests read fixtures and the clock")]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;

use anyhow::Result;
use tempfile::TempDir;

const ONE: &str = "server.1=a:2888:3888:participant;2181\n";
const TWO: &str = "server.2=b:2888:3888:participant;2181\n";
/// The pod is the second server.
const POD: &str = "users-zookeeper-1";
const OBSERVER: &str = "server.2=users-zookeeper-1.nodes.data.svc:2888:3888:observer;2181\n";

struct Container {
    root: TempDir,
}

/// What came of a start.
struct Ended {
    code: Option<i32>,
    said: String,
    /// Name and text of the list that the server was started with.
    list: Option<(String, String)>,
    root: TempDir,
}

impl Container {
    /// Makes a container whose ConfigMap names these servers.
    fn told(members: &str) -> Result<Self> {
        let container = Self { root: tempfile::tempdir()? };
        for folder in ["bin", "data", "files", "members"] {
            fs::create_dir(container.at(folder))?;
        }
        fs::write(container.at("files/zoo.cfg"), "dataDir=/data\n")?;
        fs::write(container.at("members/servers"), members)?;
        container.program("zkServer.sh", "echo \"server $*\"")?;
        container.program("getent", "echo \"10.0.0.7 STREAM $2\"")?;
        Ok(container)
    }

    fn program(&self, name: &str, body: &str) -> Result<()> {
        let file = self.at("bin").join(name);
        fs::write(&file, format!("#!/bin/bash\n{body}\n"))?;
        fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).map_err(Into::into)
    }

    /// Has the name service give these answers for the server's name, one after the other, and the last for ever.
    fn resolving(self, answers: &[&str]) -> Result<Self> {
        let (file, asked) = (self.at("answers"), self.at("asked"));
        fs::write(&file, answers.iter().map(|answer| format!("{answer}\n")).collect::<String>())?;
        self.program(
            "getent",
            &format!(
                "[[ $2 == {POD} ]] && echo \"10.0.0.7 STREAM $2\" && exit\n\
                 echo >>{asked}; at=$(wc -l <{asked}); all=$(wc -l <{answers})\n\
                 answer=$(sed -n \"$((at < all ? at : all))p\" {answers})\n\
                 [[ -n $answer ]] && echo \"$answer STREAM $2\"",
                asked = asked.display(),
                answers = file.display(),
            ),
        )?;
        Ok(self)
    }

    fn at(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    fn founded(self) -> Result<Self> {
        fs::write(self.at("members/founded"), "true\n")?;
        Ok(self)
    }

    /// Gives the volume data.
    fn with_data(self) -> Result<Self> {
        fs::create_dir(self.at("data/version-2"))?;
        Ok(self)
    }

    /// Gives the volume a list of servers, as ZooKeeper leaves it.
    fn with_list(self, list: &str) -> Result<Self> {
        fs::create_dir(self.at("data/conf"))?;
        let file = self.at("data/conf/zoo.cfg.dynamic.100000006");
        fs::write(&file, list)?;
        fs::write(self.at("data/conf/zoo.cfg"), format!("tickTime=1\ndynamicConfigFile={}\n", file.display()))?;
        Ok(self)
    }

    fn start(self) -> Result<Ended> {
        self.start_within(60)
    }

    /// Starts the container, which waits this many seconds for its name.
    fn start_within(self, seconds: u32) -> Result<Ended> {
        let root = self.root.path().display().to_string();
        let script = include_str!("../src/zookeeper/files/start.sh")
            .replace("/data/", &format!("{root}/data/"))
            .replace("/members/", &format!("{root}/members/"))
            .replace("SECONDS > 60", &format!("SECONDS > {seconds}"));
        fs::write(self.at("start.sh"), script)?;
        let path = format!("{root}/bin:{}", std::env::var("PATH")?);
        let output = Command::new("bash")
            .arg(self.at("start.sh"))
            .env("PATH", path)
            .env("HOSTNAME", POD)
            .env("NODES_HOST", "nodes.data.svc")
            .env("ZOOCFGDIR", self.at("files"))
            .output()?;
        let said = format!("{}{}", String::from_utf8(output.stdout)?, String::from_utf8(output.stderr)?);
        let started = format!("server start-foreground {root}/data/conf/zoo.cfg\n");
        let list = match said.ends_with(&started) {
            true => {
                let settings = fs::read_to_string(self.at("data/conf/zoo.cfg"))?;
                assert!(settings.starts_with("dataDir=/data\ndynamicConfigFile="), "{settings}");
                let file = settings.rsplit_once('=').map(|(_, file)| file.trim().to_owned()).unwrap_or_default();
                let name = file.rsplit('/').next().unwrap_or_default().to_owned();
                Some((name, fs::read_to_string(file)?))
            }
            false => None,
        };
        Ok(Ended { code: output.status.code(), said, list, root: self.root })
    }
}

impl Ended {
    /// Holds which list the server was started with.
    fn assert_list(&self, name: &str, text: &str) {
        assert_eq!(self.list, Some((name.to_owned(), text.to_owned())), "{}", self.said);
    }

    /// Starts the container again, on the same volume.
    fn again(self) -> Result<Self> {
        Container { root: self.root }.start()
    }
}

#[test]
fn an_empty_volume_founds_an_ensemble_with_the_others() -> Result<()> {
    let both = format!("{ONE}{TWO}");
    let ended = Container::told(&both)?.start()?;
    ended.assert_list("founding.list", &both);
    assert_eq!(fs::read_to_string(ended.root.path().join("data/myid"))?, "2\n");
    // A second start goes on with the same, whatever the ConfigMap says by now.
    fs::write(ended.root.path().join("members/servers"), ONE)?;
    ended.again()?.assert_list("founding.list", &both);
    Ok(())
}

#[test]
fn a_server_starts_once_its_name_is_known_everywhere() -> Result<()> {
    // Not known yet; known to one server of the name service and not to the next; that of the pod before.
    let ended = Container::told(TWO)?.resolving(&["", "10.0.0.7", "", "10.0.0.6", "10.0.0.7"])?.start()?;
    ended.assert_list("founding.list", TWO);
    assert_eq!(fs::read_to_string(ended.root.path().join("asked"))?.len(), 7, "three answers in a row");
    Ok(())
}

#[test]
fn a_server_whose_name_leads_elsewhere_does_not_start() -> Result<()> {
    for answer in ["10.0.0.6", "10.0.0.70", ""] {
        let ended = Container::told(TWO)?.resolving(&[answer])?.start_within(1)?;
        assert_eq!((ended.code, ended.list), (Some(1), None), "{}", ended.said);
        assert!(ended.said.contains("users-zookeeper-1.nodes.data.svc does not resolve to this pod"), "{}", ended.said);
    }
    Ok(())
}

#[test]
fn data_of_an_earlier_version_is_taken_over() -> Result<()> {
    let both = format!("{ONE}{TWO}");
    let container = Container::told(&both)?.founded()?.with_data()?;
    fs::write(container.at("data/ensemble-size"), "3\n")?;
    let ended = container.start()?;
    ended.assert_list("founding.list", &both);
    assert!(!ended.root.path().join("data/ensemble-size").exists());
    Ok(())
}

#[test]
fn a_volume_knows_who_votes() -> Result<()> {
    let own = format!("{TWO}server.3=c:2888:3888:participant;2181\n");
    let ended = Container::told(ONE)?.founded()?.with_data()?.with_list(&own)?.start()?;
    ended.assert_list("zoo.cfg.dynamic.100000006", &own);
    Ok(())
}

/// It left, or was not let in yet: with its own file ZooKeeper would not start, and with an older one it could found
/// another ensemble.
#[test]
fn a_server_that_does_not_vote_asks_to_be_let_in() -> Result<()> {
    let joins = format!("{ONE}{OBSERVER}");
    Container::told(ONE)?.founded()?.start()?.assert_list("joining.list", &joins);
    let left = Container::told(ONE)?.founded()?.with_data()?.with_list(ONE)?.start()?;
    left.assert_list("joining.list", &joins);
    // The list of those that it asks is a new one each time.
    fs::write(left.root.path().join("members/servers"), format!("{ONE}server.3=c:2888:3888:participant;2181\n"))?;
    left.again()?.assert_list("joining.list", &format!("{ONE}server.3=c:2888:3888:participant;2181\n{OBSERVER}"));
    Ok(())
}

#[test]
fn an_empty_volume_of_a_server_that_voted_founds_nothing() -> Result<()> {
    let both = format!("{ONE}{TWO}");
    Container::told(&both)?.founded()?.start()?.assert_list("joining.list", &format!("{ONE}{OBSERVER}"));
    let alone = Container::told(TWO)?.founded()?.start()?;
    assert_eq!((alone.code, alone.list.as_ref()), (Some(66), None), "{}", alone.said);
    assert!(alone.said.contains("this volume is empty, and no other server has what was on it"), "{}", alone.said);
    // The control: an ensemble that was never founded begins with one.
    Container::told(TWO)?.start()?.assert_list("founding.list", TWO);
    Ok(())
}

#[test]
fn a_volume_of_another_server_is_refused() -> Result<()> {
    let container = Container::told(TWO)?;
    fs::write(container.at("data/myid"), "1\n")?;
    let ended = container.start()?;
    assert_eq!(ended.code, Some(1));
    assert!(ended.said.contains("this volume belongs to server 1, and this pod is server 2"), "{}", ended.said);
    Ok(())
}
