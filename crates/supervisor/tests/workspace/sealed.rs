//! Files of sealed sets: linked into HOME before anything runs, and hidden in what is told.

use std::fs;

use workstead_link::{Cause, Command, Plan, StepKind, StepState};

use crate::world::{World, steps};

fn command(name: &str, run: &str) -> Command {
    Command {
        name: name.to_owned(),
        run: run.to_owned(),
        ..Command::default()
    }
}

#[test]
fn sealed_files_are_in_home_before_commands_run_and_no_status_gets_to_see_them() {
    let world = World::new(Plan {
        post_start: vec![
            command("read", "cat ~/.ssh/id && test ! -e ~/cert.pem"),
            command("tell", "cat ~/.ssh/id; exit 3"),
        ],
        ..Plan::default()
    });
    world.sealed(&[("~/.ssh/id", "canary-4711\n"), ("cert.pem", "x")]);
    let mut supervisor = world.start(&[
        "sh",
        "-c",
        "cat ~/.ssh/id >~/seen; echo written; exec sleep 1000",
    ]);
    let report = world.settled();
    let files = steps(&report, StepKind::Files).remove(0);
    assert_eq!((files.state, files.failure), (StepState::Done, None));
    let commands = steps(&report, StepKind::PostStart);
    assert_eq!(commands[0].state, StepState::Done);
    let told = commands[1].failure.as_ref().unwrap();
    assert_eq!(
        (told.exit_code, told.tail.concat()),
        (Some(3), "***".to_owned())
    );
    assert!(!supervisor.log().contains("canary"), "{}", supervisor.log());
    supervisor.says("written");
    assert_eq!(
        fs::read_to_string(world.at("seen")).unwrap(),
        "canary-4711\n"
    );
    assert!(supervisor.is_alive());
}

#[test]
fn a_file_that_can_not_be_linked_is_told_by_its_path_and_the_rest_goes_on() {
    let world = World::new(Plan {
        post_start: vec![command("read", "test \"$(cat ~/.netrc)\" = mine")],
        ..Plan::default()
    });
    world.sealed(&[("~/.netrc", "canary-4711"), ("~/.config/x", "canary-4711")]);
    world.write(".netrc", "mine");
    let supervisor = world.start(&[]);
    let report = world.settled();
    let files = steps(&report, StepKind::Files).remove(0);
    let failure = files.failure.unwrap();
    assert_eq!(
        (files.state, failure.cause),
        (StepState::Failed, Cause::FilesNotLinked)
    );
    let said = "~/.netrc is not linked: a file is there already and was left as it is";
    assert_eq!(failure.message, said);
    assert!(failure.next_step.contains("restart"), "{failure:?}");
    assert!(supervisor.log().contains(said), "{}", supervisor.log());
    let commands = steps(&report, StepKind::PostStart);
    assert_eq!(commands[0].state, StepState::Done);
    assert!(fs::read_link(world.at(".config/x")).is_ok());
}
