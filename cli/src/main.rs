//! Flags → one of the commands → an exit code. Decides nothing.

use std::process::ExitCode;

use millrace_cli::arguments::{Arguments, parse};
use millrace_cli::screen::Screen;
use millrace_cli::{Failure, Outcome, commands};

#[tokio::main(worker_threads = 2)]
#[expect(clippy::disallowed_methods, reason = "main reads flags")]
async fn main() -> ExitCode {
    // Of several TLS providers that may be compiled in, none is chosen by itself.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let arguments: Arguments = match parse(std::env::args_os()) {
        Ok(arguments) => arguments,
        Err(wrong) => wrong.exit(),
    };
    match commands::run(&arguments, &Screen::of_stdout()).await {
        Ok(Outcome::Fine) => ExitCode::SUCCESS,
        Ok(Outcome::Wrong) => ExitCode::from(1),
        Err(failure) if failure.is_closed_pipe() => ExitCode::SUCCESS,
        Err(failure) => told(&failure),
    }
}

fn told(failure: &Failure) -> ExitCode {
    eprintln!("error: {}", failure.chain());
    if let Some(hint) = failure.hint() {
        eprintln!("hint: {hint}");
    }
    ExitCode::from(failure.exit_code())
}
