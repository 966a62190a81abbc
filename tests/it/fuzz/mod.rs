//! The functions of `src/testkit/fuzz` over the seeds in `fuzz/seeds` and over mutations of them. Each target runs in
//! a process of its own, with a limit on memory; each input has a limit on time.

mod large;
mod mutate;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use workstead::testkit::fuzz::{TARGETS, Target};

use large::large;
use mutate::{Random, mutated};

/// Processor time that one input may take, in an unoptimised build.
const TIME: Duration = Duration::from_secs(5);
/// Memory of the process: what a test needs anyway, and what one input may take.
const MEMORY: u64 = 192 * 1024 * 1024;
/// What the helper is told: target, number to begin with, how many mutations, or how many seconds of them.
const TASK: &str = "WORKSTEAD_FUZZ_TASK";

fn folder(target: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fuzz/seeds")
        .join(target)
}

/// The input that runs, so that it is there when it was the last one.
fn running(target: &str) -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("fuzz-{target}"))
}

fn seeds(target: &str) -> Vec<(String, Vec<u8>)> {
    let mut seeds: Vec<(String, Vec<u8>)> = fs::read_dir(folder(target))
        .unwrap()
        .map(|entry| {
            let entry = entry.unwrap();
            (
                entry.file_name().into_string().unwrap(),
                fs::read(entry.path()).unwrap(),
            )
        })
        .collect();
    seeds.sort();
    seeds
}

/// Time that this thread had a processor.
fn processor_time() -> Duration {
    let text = fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    Duration::from_nanos(text.split(' ').next().unwrap().parse().unwrap())
}

fn run(target: Target, name: &str, input: &[u8]) {
    fs::write(running(target.name), input).unwrap();
    let before = processor_time();
    (target.run)(input);
    let took = processor_time() - before;
    assert!(
        took <= TIME,
        "{name} of {} took {took:?}, more than {TIME:?}",
        target.name
    );
}

/// Not a test of its own: what the others start as another process.
#[test]
#[ignore = "run by the other tests of this file"]
fn helper_that_runs_one_target() {
    #[allow(clippy::disallowed_methods)] // what the parent says has no other way in
    let task = std::env::var(TASK).unwrap();
    let words: Vec<&str> = task.split(' ').collect();
    let target = *TARGETS
        .iter()
        .find(|target| target.name == words[0])
        .unwrap();
    let (first, count): (u64, u64) = (words[1].parse().unwrap(), words[2].parse().unwrap());
    let seconds: u64 = words[3].parse().unwrap();
    use rustix::process::{Resource, Rlimit, setrlimit};
    let limit = Rlimit {
        current: Some(MEMORY),
        maximum: Some(MEMORY),
    };
    setrlimit(Resource::Data, limit).unwrap();
    let seeds = seeds(target.name);
    for (name, input) in &seeds {
        run(target, name, input);
    }
    // Long where there is time for it.
    let length = if seconds == 0 { 32 * 1024 } else { 512 * 1024 };
    for (name, input) in large(target, length) {
        run(target, &name, &input);
    }
    let seeds: Vec<Vec<u8>> = seeds.into_iter().map(|(_, input)| input).collect();
    #[allow(clippy::disallowed_methods)] // how long it may go on, not what it does
    let begin = Instant::now();
    let mut number = first;
    while number - first < count || begin.elapsed() < Duration::from_secs(seconds) {
        let mut random = Random(number);
        let input = mutated(&mut random, &seeds, target.longest);
        run(target, &format!("mutation {number}"), &input);
        number += 1;
    }
    println!(
        "{}: {} seeds, mutations {first}..{number}",
        target.name,
        seeds.len()
    );
}

/// Runs targets one after the other; says of each that failed what it said, and where its input is.
fn run_all(first: u64, count: u64, seconds: u64, deadline: Duration) {
    let mut wrong = Vec::new();
    for target in TARGETS {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--ignored", "--exact", "--nocapture", "--test-threads=1"])
            .arg("fuzz::helper_that_runs_one_target")
            .env(TASK, format!("{} {first} {count} {seconds}", target.name))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        #[allow(clippy::disallowed_methods)] // a deadline of the test, not of what it tests
        let begin = Instant::now();
        let mut is_late = false;
        while child.try_wait().unwrap().is_none() {
            if begin.elapsed() > deadline {
                is_late = true;
                child.kill().unwrap();
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        let output = child.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        if output.status.success() && said.contains(": ") {
            println!(
                "{}",
                said.lines()
                    .find(|line| line.contains(" seeds, "))
                    .unwrap_or_default()
            );
            continue;
        }
        let words = String::from_utf8_lossy(&output.stderr);
        let words: String = words.chars().take(2000).collect();
        let kept = running(target.name).with_extension("failed");
        fs::rename(running(target.name), &kept).unwrap();
        let late = if is_late {
            format!(" after {deadline:?}")
        } else {
            String::new()
        };
        wrong.push(format!(
            "{}: {}{late}\n{words}\nThe input is {}: keep it in {} under a name that says what was wrong.",
            target.name,
            output.status,
            kept.display(),
            folder(target.name).display(),
        ));
    }
    assert!(wrong.is_empty(), "\n{}\n", wrong.join("\n\n"));
}

#[test]
fn every_seed_and_some_mutations_are_answered_within_time_and_memory() {
    run_all(1, 1_500, 0, Duration::from_secs(240));
}

#[test]
#[ignore = "takes minutes: run by make test-long"]
fn many_mutations_are_answered_within_time_and_memory() {
    run_all(
        rand::random::<u32>().into(),
        0,
        180,
        Duration::from_secs(600),
    );
}

#[test]
fn every_target_has_its_binary_and_its_seeds() {
    let names = |folder: &str| -> BTreeSet<String> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("fuzz")
            .join(folder);
        fs::read_dir(folder)
            .unwrap()
            .map(|entry| {
                entry
                    .unwrap()
                    .path()
                    .file_stem()
                    .unwrap()
                    .to_string_lossy()
                    .into_owned()
            })
            .collect()
    };
    let targets: BTreeSet<String> = TARGETS
        .iter()
        .map(|target| target.name.to_owned())
        .collect();
    assert_eq!(names("fuzz_targets"), targets);
    assert_eq!(names("seeds"), targets);
    for target in TARGETS {
        let seeds = seeds(target.name);
        assert!(seeds.len() > 2, "{} has {} seeds", target.name, seeds.len());
        assert!(seeds.iter().all(|(_, input)| input.len() <= target.longest));
        let binary = format!("fuzz/fuzz_targets/{}.rs", target.name);
        let binary =
            fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(binary)).unwrap();
        assert!(
            binary.contains(&format!("fuzz::{}(data)", target.name)),
            "{binary}"
        );
    }
}
