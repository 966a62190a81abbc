/// Not asserted: the figures are for people, `cargo test -- --ignored --nocapture`.
#[test]
#[ignore = "prints figures: run it by hand, with --release and --nocapture"]
#[allow(clippy::disallowed_methods)]
fn figures_of_ten_thousand_workspaces() {
    let parts: Vec<Parts> = (0..10_000_u32)
        .map(|number| {
            let [_, _, high, low] = number.to_be_bytes();
            Parts::new(
                &format!("workspace-{number}"),
                &format!("10.9.{high}.{low}"),
            )
        })
        .collect();
    let facts: Vec<Fact> = parts.iter().flat_map(Parts::facts).collect();
    let before = resident();
    let begin = Instant::now();
    let mut index = index(&[]);
    for fact in facts {
        index.apply(fact);
    }
    let mut routes = settled(&mut index);
    println!(
        "filled in {:?}, {} KiB more",
        begin.elapsed(),
        resident() - before
    );
    let mut slowest = Duration::ZERO;
    for parts in parts.iter().take(1000) {
        let mut fact = WorkspaceFacts::of(parts.workspace.clone());
        fact.supervisor = None;
        let begin = Instant::now();
        index.apply(Fact::Workspace(Box::new(fact)));
        routes = index.settle(&routes).unwrap();
        slowest = slowest.max(begin.elapsed());
    }
    println!("slowest change {slowest:?}");
    let begin = Instant::now();
    let found = (0..1_000_000_u32)
        .filter(|number| {
            routes
                .find(if number % 2 == 0 {
                    "workspace-77"
                } else {
                    "workspace-9999"
                })
                .is_some()
        })
        .count();
    println!("{found} lookups in {:?}", begin.elapsed());
}

fn resident() -> i64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("VmRSS"))
        .unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}
