//! `workstead vars update`: the next start takes what is newest.

use std::process::ExitCode;

use crate::cli::error::CliError;
use crate::cli::output::Screen;
use crate::cli::runstate::{Answering, Progress, Said, Target, request_value, runs};
use crate::cli::vars::UpdateArgs;
use crate::cli::vars::list::{changes, is_outdated};
use crate::model::names::{RESTART_REQUESTED_ANNOTATION, VARIABLES_UPDATE_ANNOTATION};

/// Asks for newer values.
pub async fn run(arguments: &UpdateArgs, screen: &mut Screen) -> Result<ExitCode, CliError> {
    if arguments.wait.wait && !arguments.restart {
        return Err(CliError::undone("--wait waits for a start, and nothing asks for one")
            .next("say --restart too, or leave --wait out: the next start takes them, whenever that is"));
    }
    let target = Target::find(&arguments.cluster, &arguments.name).await?;
    target.refuse_terminated("update")?;
    if arguments.restart {
        target.refuse_stopped()?;
    }
    let value = request_value();
    // In one patch: a restart that is seen without the other would take nothing.
    let keys: &[&str] = if arguments.restart {
        &[VARIABLES_UPDATE_ANNOTATION, RESTART_REQUESTED_ANNOTATION]
    } else {
        &[VARIABLES_UPDATE_ANNOTATION]
    };
    target.annotate_all(keys, &value).await?;
    if arguments.output.is_none() {
        tell(&target, screen)?;
    }
    let said = if arguments.restart {
        Said::new("restart", "asked to restart with the newest values")
    } else {
        Said::new("update", "takes the newest values when it next starts")
    };
    let answering = Answering {
        wait: arguments.wait.clone(),
        output: arguments.output,
    };
    target
        .answer(&answering, screen, said, |workspace| {
            let status = workspace.status.clone().unwrap_or_default();
            let echoes = [
                status.last_handled_restart_at,
                status.last_handled_variables_update_at,
            ];
            let heard = echoes.iter().all(|echo| echo.as_ref() == Some(&value));
            Progress::of(heard, runs(workspace))
        })
        .await
        .inspect(|_| {
            if arguments.output.is_none() && !arguments.restart {
                let step = target.again("vars update");
                screen.progress(&format!("to have them now: {step} --restart"));
            }
        })
}

/// What will change, as far as the controller has seen it.
fn tell(target: &Target, screen: &mut Screen) -> Result<(), CliError> {
    let Some(pinned) = target.status().variables else {
        return screen.print(
            "nothing of sealed sets is pinned yet: its next start takes what is newest in any case\n",
        );
    };
    if !is_outdated(&target.workspace) {
        return screen.print("nothing newer is known yet: it takes what there is then\n");
    }
    let mut changes = changes(&pinned).into_iter();
    changes.try_for_each(|change| screen.print(&format!("{change}\n")))
}
