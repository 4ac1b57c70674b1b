//! What git says of this checkout: how many commits, when, and which paths were changed since one of them.

use std::process::Command;

use chrono::{DateTime, Utc};

use crate::cluster::repository;
use crate::full_runs::History;

/// The history of this checkout.
pub struct Checkout;

impl Checkout {
    /// Returns the commit that is checked out.
    pub fn commit(&self) -> Option<String> {
        git(&["rev-parse", "HEAD"])
    }

    /// Returns how many commits there are. 1 in a shallow clone.
    pub fn commits(&self) -> Option<usize> {
        git(&["rev-list", "--count", "HEAD"])?.parse().ok()
    }

    /// Returns the commit that landed last before this work: `E2E_BASE`, or where `origin/main` and this work part; in a
    /// checkout of `origin/main` itself, as in a fresh clone, the parent of its newest commit: how many landed together
    /// with it, git does not say. `None`: a shallow clone.
    pub fn base(&self) -> Option<String> {
        if let Some(base) = std::env::var("E2E_BASE").ok().filter(|base| !base.is_empty()) {
            return git(&["rev-parse", "--verify", "--quiet", &format!("{base}^{{commit}}")]);
        }
        let landed =
            git(&["merge-base", "origin/main", "HEAD"]).filter(|landed| Some(landed) != self.commit().as_ref());
        landed.or_else(|| git(&["rev-parse", "--verify", "--quiet", "HEAD~1"]))
    }

    /// Returns whether the history is cut off, so that neither changes nor ages are known.
    pub fn is_shallow(&self) -> bool {
        git(&["rev-parse", "--is-shallow-repository"]).as_deref() != Some("false")
    }

    /// Returns the paths that differ from a commit, in the working tree, too.
    pub fn changed_since(&self, base: &str) -> Option<Vec<String>> {
        let tracked = git(&["diff", "--name-only", base])?;
        let new = git(&["ls-files", "--others", "--exclude-standard"])?;
        Some(tracked.lines().chain(new.lines()).map(str::to_owned).collect())
    }

    /// Returns the paths that git knows.
    pub fn paths(&self) -> Option<Vec<String>> {
        Some(git(&["ls-files"])?.lines().map(str::to_owned).collect())
    }
}

impl History for Checkout {
    fn commits_since(&self, commit: &str) -> Option<usize> {
        git(&["merge-base", "--is-ancestor", commit, "HEAD"])?;
        git(&["rev-list", "--count", &format!("{commit}..HEAD")])?.parse().ok()
    }

    fn time_of(&self, commit: &str) -> Option<DateTime<Utc>> {
        let seconds = git(&["show", "--no-patch", "--format=%ct", commit])?.parse().ok()?;
        DateTime::from_timestamp(seconds, 0)
    }
}

fn git(arguments: &[&str]) -> Option<String> {
    let ran = Command::new("git").arg("-C").arg(repository()).args(arguments).output().ok()?;
    ran.status.success().then(|| String::from_utf8_lossy(&ran.stdout).trim().to_owned())
}
