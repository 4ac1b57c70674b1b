//! `console`: a port-forward to the console, and its address with the user's own token in the fragment, which browsers
//! never send to a server.

use std::process::Command;

use k8s_openapi::api::authentication::v1::{TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::{Pod, Service, ServiceAccount};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::api::{ListParams, PostParams};
use kube::config::{AuthInfo, ExecConfig};
use kube::{Api, ResourceExt};
use millrace_api::pods::is_running;
use secrecy::ExposeSecret;
use serde_json::{Value, json};

use super::Context;
use crate::arguments;
use crate::forward::forward;
use crate::screen::write;
use crate::{Failure, Outcome};

/// How long a token of a ServiceAccount holds, in seconds.
const TOKEN_SECONDS: i64 = 3_600;

/// Forwards until it is stopped.
pub async fn run(context: &Context<'_>, flags: &arguments::Console) -> Result<Outcome, Failure> {
    let (pod, port) = target(context, flags).await?;
    let token = match &flags.service_account {
        Some(name) => Some(token_of(context, name).await?),
        None => own_token(&context.cluster.config.auth_info)?,
    };
    let pods: Api<Pod> = Api::namespaced(context.cluster.client.clone(), &flags.release_namespace);
    let forward = forward(&pods, &pod, port, flags.port).await?;
    let url = url(&forward.address.to_string(), token.as_deref());
    if flags.print_url {
        write(&format!("{url}\n"))?;
    } else {
        write(&format!(
            "The console, with your own rights, while this command runs (Ctrl-C stops it):\n\n  {url}\n\n"
        ))?;
        if token.is_none() {
            eprintln!(
                "note: your kubeconfig has no token. The page asks for one: `kubectl create token NAME`, or start this \
                 with --service-account NAME"
            );
        }
    }
    let _ = tokio::signal::ctrl_c().await;
    Ok(Outcome::Fine)
}

/// Finds a running pod behind the Service, and the port of it.
async fn target(context: &Context<'_>, flags: &arguments::Console) -> Result<(String, u16), Failure> {
    let arguments::Console { release_namespace: namespace, service: name, .. } = flags;
    let services: Api<Service> = Api::namespaced(context.cluster.client.clone(), namespace);
    let found = services.get_opt(name).await.map_err(Failure::asking(format!("read Service '{name}'")))?;
    let service = found.ok_or_else(|| {
        Failure::mistake(format!(
            "there is no Service '{name}' in namespace '{namespace}': the chart installs it with console.enabled=true; \
             for another release, set --release-namespace and --service"
        ))
    })?;
    let spec = service.spec.unwrap_or_default();
    let labels: Vec<String> = spec.selector.iter().flatten().map(|(name, value)| format!("{name}={value}")).collect();
    let pods: Api<Pod> = Api::namespaced(context.cluster.client.clone(), namespace);
    let selected = ListParams::default().labels(&labels.join(","));
    let pods = pods.list(&selected).await.map_err(Failure::asking("list the console's pods"))?;
    let pod = pods
        .iter()
        .find(|pod| is_running(pod))
        .ok_or_else(|| Failure::away(format!("no pod of the console runs in namespace '{namespace}'")))?;
    let wanted = spec.ports.iter().flatten().next();
    let target = wanted.map(|port| port.target_port.clone().unwrap_or(IntOrString::Int(port.port)));
    let port = target.and_then(|target| port_of(pod, &target)).ok_or_else(|| {
        Failure::mistake(format!("Service '{name}' has no port that leads to pod '{}'", pod.name_any()))
    })?;
    Ok((pod.name_any(), port))
}

fn port_of(pod: &Pod, target: &IntOrString) -> Option<u16> {
    match target {
        IntOrString::Int(number) => u16::try_from(*number).ok(),
        IntOrString::String(name) => {
            let containers = pod.spec.iter().flat_map(|spec| &spec.containers);
            let mut ports = containers.flat_map(|container| container.ports.iter().flatten());
            let found = ports.find(|port| port.name.as_ref() == Some(name))?;
            u16::try_from(found.container_port).ok()
        }
    }
}

/// Asks for a token of a ServiceAccount.
async fn token_of(context: &Context<'_>, name: &str) -> Result<String, Failure> {
    let api: Api<ServiceAccount> = context.cluster.api();
    let request = TokenRequest {
        spec: TokenRequestSpec { expiration_seconds: Some(TOKEN_SECONDS), ..TokenRequestSpec::default() },
        ..TokenRequest::default()
    };
    let what = format!("create a token of ServiceAccount '{name}'");
    let made = api.create_token_request(name, &PostParams::default(), &request).await;
    let status = made.map_err(Failure::asking(what))?.status;
    status.map(|status| status.token).ok_or_else(|| Failure::away("the API server returned no token"))
}

/// Returns the token that the kubeconfig has, or has a program for. `None`: the user has a certificate or a password.
#[expect(clippy::disallowed_methods, reason = "nothing else runs while the token is fetched")]
fn own_token(user: &AuthInfo) -> Result<Option<String>, Failure> {
    if let Some(token) = &user.token {
        return Ok(Some(token.expose_secret().to_owned()));
    }
    if let Some(file) = &user.token_file {
        let token = std::fs::read_to_string(file);
        return match token {
            Ok(token) => Ok(Some(token.trim().to_owned())),
            Err(source) => Err(Failure::ReadFile { file: file.clone(), source }),
        };
    }
    Ok(user.exec.as_ref().and_then(run_credential_plugin))
}

/// Runs the kubeconfig's credential plugin, as kubectl does, and takes the token from what it prints.
#[expect(clippy::disallowed_methods, reason = "nothing else runs while the token is fetched")]
fn run_credential_plugin(plugin: &ExecConfig) -> Option<String> {
    let version = plugin.api_version.clone().unwrap_or_else(|| "client.authentication.k8s.io/v1".to_owned());
    let request = json!({"apiVersion": version, "kind": "ExecCredential", "spec": {"interactive": false}});
    let mut command = Command::new(plugin.command.as_ref()?);
    command.args(plugin.args.iter().flatten()).env("KUBERNETES_EXEC_INFO", request.to_string());
    for variable in plugin.env.iter().flatten() {
        if let (Some(name), Some(value)) = (variable.get("name"), variable.get("value")) {
            command.env(name, value);
        }
    }
    let printed = command.output().ok()?;
    let credential: Value = serde_json::from_slice(&printed.stdout).ok()?;
    credential.pointer("/status/token")?.as_str().map(str::to_owned)
}

fn url(address: &str, token: Option<&str>) -> String {
    match token {
        Some(token) => format!("http://{address}/login#token={}", encoded(token)),
        None => format!("http://{address}/"),
    }
}

/// Writes what is not plain in a fragment as `%` and hexadecimal digits.
fn encoded(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    let one = |byte: u8| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") };
    text.bytes().map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_token_goes_into_the_fragment_whole() {
        assert_eq!(url("127.0.0.1:4000", Some("a.b-c_d+/=")), "http://127.0.0.1:4000/login#token=a.b-c_d%2B%2F%3D");
        assert_eq!(url("127.0.0.1:4000", None), "http://127.0.0.1:4000/");
    }

    #[test]
    fn finds_the_port_by_number_or_name() {
        let pod =
            json!({"spec": {"containers": [{"name": "console", "ports": [{"name": "http", "containerPort": 8080}]}]}});
        let pod: Pod = serde_json::from_value(pod).expect("a pod");
        assert_eq!(port_of(&pod, &IntOrString::Int(9)), Some(9));
        assert_eq!(port_of(&pod, &IntOrString::String("http".to_owned())), Some(8080));
        assert_eq!(port_of(&pod, &IntOrString::String("grpc".to_owned())), None);
    }

    #[test]
    fn a_certificate_is_no_token() {
        assert_eq!(own_token(&AuthInfo::default()).expect("nothing to read"), None);
        let plugin = ExecConfig {
            command: Some("echo".to_owned()),
            args: Some(vec!["{\"status\": {\"token\": \"secret\"}}".to_owned()]),
            ..exec()
        };
        let user = AuthInfo { exec: Some(plugin), ..AuthInfo::default() };
        assert_eq!(own_token(&user).expect("it runs").as_deref(), Some("secret"));
    }

    fn exec() -> ExecConfig {
        serde_json::from_value(json!({"command": "false"})).expect("a plugin")
    }
}
