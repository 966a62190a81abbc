//! Against real folders: a volume as the kubelet makes it, and a HOME in which somebody lives.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use tempfile::TempDir;
use workstead_link::{FILES_PATH, Plan, Project};

use super::{Home, Outcome, record};
use crate::places::Places;

struct World {
    folder: TempDir,
    places: Places,
    plan: Plan,
    versions: u32,
}

impl World {
    fn new(files: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let places = Places {
            root: folder.path().to_owned(),
            ..Places::default()
        };
        fs::create_dir_all(places.projects()).unwrap();
        let mut world = Self {
            folder,
            places,
            plan: Plan::default(),
            versions: 0,
        };
        world.mount(files);
        world
    }

    /// A new version of the volume: a folder named by time, `..data` that leads to it, and an entry for each first part.
    fn mount(&mut self, files: &[&str]) {
        let mount = self.places.at(FILES_PATH);
        let _ = fs::remove_dir_all(&mount);
        self.versions += 1;
        let version = format!("..2026_01_01_00_00_00.{}", self.versions);
        for file in files {
            let path = mount.join(&version).join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, format!("content of {file}")).unwrap();
            let first = file.split('/').next().unwrap();
            let _ = symlink(format!("..data/{first}"), mount.join(first));
        }
        if !files.is_empty() {
            symlink(&version, mount.join("..data")).unwrap();
        }
    }

    fn home(&self) -> PathBuf {
        self.places.projects()
    }

    fn at(&self, path: &str) -> PathBuf {
        self.home().join(path)
    }

    fn target(&self, path: &str) -> PathBuf {
        self.places.at(FILES_PATH).join("~").join(path)
    }

    fn link(&self) -> Outcome {
        Home::of(Some(&self.home()), &self.plan, &self.places).map_or_else(|o| o, |h| h.link())
    }

    /// Links without any trouble.
    fn links(&self) {
        assert_eq!(self.link(), Outcome::default());
    }

    fn refuses(&self, path: &str, why: &str) {
        let outcome = self.link();
        let trouble = outcome.troubles.iter().find(|text| text.contains(path));
        let trouble = trouble.unwrap_or_else(|| panic!("{path}: {outcome:?}"));
        assert!(trouble.contains(why), "{trouble}");
        assert!(!format!("{outcome:?}").contains("content of"));
    }

    /// Everything below HOME: its path, what it is, where it leads or what it holds, and when it was changed.
    fn seen(&self) -> Vec<String> {
        let mut seen = Vec::new();
        let mut open = vec![self.home()];
        while let Some(folder) = open.pop() {
            for entry in fs::read_dir(folder).unwrap().flatten() {
                let (path, found) = (entry.path(), entry.metadata().unwrap());
                let what = if found.is_dir() {
                    open.push(path.clone());
                    String::new()
                } else if found.is_symlink() {
                    fs::read_link(&path).unwrap().display().to_string()
                } else {
                    fs::read_to_string(&path).unwrap()
                };
                seen.push(format!(
                    "{} {:o} {} {} {}.{} {what}",
                    path.display(),
                    found.mode(),
                    found.ino(),
                    found.len(),
                    found.ctime(),
                    found.ctime_nsec()
                ));
            }
        }
        seen.sort();
        seen
    }
}

fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn files_below_the_tilde_are_linked_and_others_are_not() {
    let world = World::new(&[
        "~/.ssh/id_ed25519",
        "~/.gnupg/a/b",
        "~/.netrc",
        "~/.config/tool/deep/er/x.toml",
        "cert.pem",
        "a/~/b",
    ]);
    world.links();
    for path in [
        ".ssh/id_ed25519",
        ".gnupg/a/b",
        ".netrc",
        ".config/tool/deep/er/x.toml",
    ] {
        assert_eq!(fs::read_link(world.at(path)).unwrap(), world.target(path));
        let content = fs::read_to_string(world.at(path)).unwrap();
        assert_eq!(content, format!("content of ~/{path}"));
    }
    assert_eq!(mode(&world.at(".ssh")), 0o700);
    assert_eq!(mode(&world.at(".gnupg")), 0o700);
    assert_ne!(mode(&world.at(".config")), 0o700);
    let mut names: Vec<_> = fs::read_dir(world.home())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert_eq!(names, [".config", ".gnupg", ".local", ".netrc", ".ssh"]);
}

#[test]
fn a_second_start_changes_nothing() {
    let world = World::new(&["~/.ssh/id", "~/.netrc", "~/a/b/c"]);
    fs::write(world.at("a"), "a file where a folder is wanted").unwrap();
    let first = world.link();
    assert_eq!(first.troubles.len(), 1);
    let seen = world.seen();
    assert_eq!(world.link(), first);
    assert_eq!(world.seen(), seen);
}

#[test]
fn a_home_without_such_files_is_left_alone() {
    let world = World::new(&["cert.pem"]);
    world.links();
    assert!(world.seen().is_empty());
    let nothing = World::new(&[]);
    nothing.links();
    assert!(nothing.seen().is_empty());
}

#[test]
fn what_is_there_already_stays() {
    let world = World::new(&["~/file", "~/folder", "~/foreign", "~/gone", "~/ours"]);
    fs::write(world.at("file"), "mine").unwrap();
    fs::create_dir(world.at("folder")).unwrap();
    symlink("/etc/hostname", world.at("foreign")).unwrap();
    // It leads into the volume, but to another file: whoever made it, it was not us.
    symlink(world.target("ours"), world.at("gone")).unwrap();
    symlink(world.target("ours"), world.at("ours")).unwrap();
    world.refuses("~/file", "a file is there already");
    world.refuses("~/folder", "a folder is there already");
    world.refuses("~/foreign", "a link that leads elsewhere is there");
    world.refuses("~/gone", "a link that leads elsewhere is there");
    assert_eq!(world.link().troubles.len(), 4);
    assert_eq!(fs::read_to_string(world.at("file")).unwrap(), "mine");
    let foreign = fs::read_link(world.at("foreign")).unwrap();
    assert_eq!(foreign, Path::new("/etc/hostname"));
    assert_eq!(
        fs::read_link(world.at("gone")).unwrap(),
        world.target("ours")
    );
}

#[test]
fn nothing_is_made_through_a_link_not_even_one_that_stays_inside() {
    let world = World::new(&["~/.ssh/id", "~/.config/x/y", "~/a/b/c"]);
    let outside = tempfile::tempdir().unwrap();
    fs::create_dir_all(world.at("dotfiles")).unwrap();
    fs::create_dir_all(world.at("a")).unwrap();
    symlink(outside.path(), world.at(".ssh")).unwrap();
    symlink("dotfiles", world.at(".config")).unwrap();
    symlink("..", world.at("a/b")).unwrap();
    world.refuses(
        "~/.ssh/id",
        "~/.ssh is a link that leads elsewhere, and links are made in real folders only",
    );
    world.refuses("~/.config/x/y", "~/.config is a link");
    world.refuses("~/a/b/c", "~/a/b is a link");
    assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 0);
    assert_eq!(fs::read_dir(world.at("dotfiles")).unwrap().count(), 0);
}

#[test]
fn the_record_is_not_written_through_a_link_and_the_files_are_linked_all_the_same() {
    let world = World::new(&["~/.netrc"]);
    let outside = tempfile::tempdir().unwrap();
    symlink(outside.path(), world.at(".local")).unwrap();
    world.refuses(record::PATH, "~/.local is a link that leads elsewhere");
    assert!(world.at(".netrc").exists());
    assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 0);
}

#[test]
fn a_file_that_left_the_set_leaves_home_too() {
    let mut world = World::new(&["~/.ssh/id", "~/.ssh/old", "~/.netrc"]);
    world.links();
    world.mount(&["~/.ssh/id"]);
    world.links();
    assert!(world.at(".ssh/old").symlink_metadata().is_err());
    assert!(world.at(".netrc").symlink_metadata().is_err());
    assert!(world.at(".ssh/id").exists());
    // The last set is gone, and with it the volume.
    world.mount(&[]);
    world.links();
    assert!(world.at(".ssh/id").symlink_metadata().is_err());
    assert!(world.at(record::PATH).symlink_metadata().is_err());
    let seen = world.seen();
    world.links();
    assert_eq!(world.seen(), seen);
}

#[test]
fn what_a_person_put_in_the_place_of_a_link_is_not_taken_away() {
    let mut world = World::new(&["~/a", "~/b", "~/c/d", "~/e"]);
    world.links();
    for path in ["a", "b"] {
        fs::remove_file(world.at(path)).unwrap();
    }
    fs::write(world.at("a"), "mine").unwrap();
    symlink(world.target("e"), world.at("b")).unwrap();
    let outside = tempfile::tempdir().unwrap();
    symlink(world.target("c/d"), outside.path().join("d")).unwrap();
    fs::remove_dir_all(world.at("c")).unwrap();
    symlink(outside.path(), world.at("c")).unwrap();
    // A link of their own to a file of ours is not in the record.
    symlink(world.target("never"), world.at("never")).unwrap();
    world.mount(&[]);
    world.links();
    assert_eq!(fs::read_to_string(world.at("a")).unwrap(), "mine");
    assert!(world.at("b").symlink_metadata().is_ok());
    assert!(outside.path().join("d").symlink_metadata().is_ok());
    assert!(world.at("never").symlink_metadata().is_ok());
    assert!(world.at("e").symlink_metadata().is_err());
}

#[test]
fn a_forged_record_takes_nothing_away_that_is_not_ours() {
    let mut world = World::new(&["~/kept"]);
    let outside = tempfile::tempdir_in(world.folder.path()).unwrap();
    let victim = outside.path().join("victim");
    fs::write(&victim, "mine").unwrap();
    fs::create_dir_all(world.at(".local/state/workstead")).unwrap();
    fs::write(world.at("file"), "mine").unwrap();
    let way = format!(
        "../{}/victim",
        outside.path().file_name().unwrap().to_str().unwrap()
    );
    let forged = serde_json::json!({"links": [
        way, victim, "file", "./file", "a//b", "", ".", "..", "../x", "a\nb", "\u{1b}[2J"
    ]});
    fs::write(world.at(record::PATH), forged.to_string()).unwrap();
    world.links();
    assert_eq!(fs::read_to_string(&victim).unwrap(), "mine");
    assert_eq!(fs::read_to_string(world.at("file")).unwrap(), "mine");
    world.mount(&[]);
    world.links();
    assert!(world.at("kept").symlink_metadata().is_err());
}

#[test]
fn a_record_that_is_none_is_told_and_holds_nothing_up() {
    let world = World::new(&["~/kept"]);
    let record = world.at(record::PATH);
    fs::create_dir_all(record.parent().unwrap()).unwrap();
    fs::write(&record, "no record").unwrap();
    world.refuses(record::PATH, "can't be read");
    // It was written anew.
    world.links();
    fs::remove_file(&record).unwrap();
    // Nobody ever writes into it: a reader that waits would wait for ever.
    rustix::fs::mkfifoat(rustix::fs::CWD, &record, 0o600.into()).unwrap();
    world.refuses(record::PATH, "it is no file");
    world.links();
    fs::remove_file(&record).unwrap();
    let victim = world.at("victim");
    fs::write(&victim, "mine").unwrap();
    symlink(&victim, &record).unwrap();
    world.refuses(record::PATH, "can't be read");
    assert_eq!(fs::read_to_string(&victim).unwrap(), "mine");
    assert!(world.at("kept").exists());
}

#[test]
fn a_start_that_was_cut_off_is_made_up_for_by_the_next() {
    let mut world = World::new(&["~/a/b", "~/c"]);
    let record = world.at(record::PATH);
    fs::create_dir_all(record.parent().unwrap()).unwrap();
    // The record was written, or half written, and the links were not made.
    fs::write(record.with_extension("new"), "{\"li").unwrap();
    fs::write(&record, r#"{"links": ["a/b", "c", "gone/for/good"]}"#).unwrap();
    world.links();
    assert!(world.at("a/b").exists() && world.at("c").exists());
    assert!(!record.with_extension("new").exists());
    // The links were taken away, and the record was not written.
    fs::remove_file(world.at("c")).unwrap();
    world.mount(&["~/a/b"]);
    world.links();
    assert_eq!(
        fs::read_to_string(&record).unwrap(),
        "{\"links\":[\"a/b\"]}\n"
    );
}

#[test]
fn without_a_home_it_is_told_only_where_there_is_something_to_link() {
    let none = World::new(&["cert.pem"]);
    let some = World::new(&["~/.netrc"]);
    for home in [None, Some(Path::new("")), Some(Path::new("relative"))] {
        let outcome = |world: &World| Home::of(home, &world.plan, &world.places).err();
        assert_eq!(outcome(&none), Some(Outcome::default()));
        let told = outcome(&some).unwrap().in_words().unwrap();
        assert!(told.contains("HOME"), "{told}");
    }
    // A file in the place of HOME.
    fs::write(some.folder.path().join("home"), "").unwrap();
    let home = some.folder.path().join("home");
    let outcome = Home::of(Some(&home), &some.plan, &some.places)
        .ok()
        .unwrap()
        .link();
    assert!(outcome.in_words().unwrap().contains("can't be linked"));
    // One that is not there yet is made.
    let home = some.folder.path().join("new/home");
    let made = Home::of(Some(&home), &some.plan, &some.places)
        .ok()
        .unwrap();
    assert_eq!(made.link(), Outcome::default());
    assert!(home.join(".netrc").exists());
}

#[test]
fn a_file_of_a_project_waits_until_that_is_cloned() {
    let mut world = World::new(&["~/api/.env", "~/api-keys/x", "~/.netrc"]);
    world.plan.projects = vec![Project {
        folder: "api".to_owned(),
        ..Project::default()
    }];
    let outcome = world.link();
    assert_eq!(outcome.later, ["api/.env"]);
    assert!(outcome.troubles.is_empty());
    assert!(!world.at("api").exists() && world.at("api-keys/x").exists());
    let mut never = world.link();
    never.give_up_waiting();
    let told = never.in_words().unwrap();
    assert!(
        told.contains("~/api/.env is not linked: it belongs into a project"),
        "{told}"
    );
    fs::create_dir(world.at("api")).unwrap();
    world.links();
    assert!(world.at("api/.env").exists());
    // HOME inside of a project waits as a whole.
    world.plan.projects[0].folder = "other".to_owned();
    let home = world.at("other/home");
    let inside = Home::of(Some(&home), &world.plan, &world.places)
        .ok()
        .unwrap();
    assert_eq!(inside.link().later.len(), 3);
    assert!(!world.at("other").exists());
}

#[test]
fn many_troubles_are_counted() {
    let outcome = Outcome {
        troubles: (0..20).map(|n| format!("t{n}")).collect(),
        later: Vec::new(),
    };
    let told = outcome.in_words().unwrap();
    assert!(told.ends_with("t7; and 12 more"), "{told}");
    assert_eq!(Outcome::default().in_words(), None);
}
