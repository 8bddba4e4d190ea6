//! Every promise, in every small world.

use super::*;

/// Every small world: each row against each column, with each brake.
fn small_worlds() -> Vec<World> {
    let whole = |left| with_left(&["a.example.com", "b.example.com"], left);
    let disks: [fn(World, &CertificateChain) -> World; 7] = [
        |world, _| world,
        |mut world, _| {
            world.disk = DiskCopy::Unknown("input/output error".to_owned().into());
            world
        },
        |mut world, _| {
            world.disk = DiskCopy::Lost("it is gone".to_owned().into());
            world
        },
        |mut world, _| {
            world.disk = DiskCopy::Broken("it is torn".to_owned());
            world
        },
        |world, shown| world.on_disk(shown.clone()),
        |world, _| world.on_disk(with_left(&["a.example.com"], 80)),
        |world, _| world.on_disk(with_left(&["a.example.com", "b.example.com"], -1)),
    ];
    let destinations: [fn(World, &CertificateChain) -> World; 8] = [
        |world, _| world,
        |world, _| match world.disk.clone() {
            DiskCopy::Whole(stored) => world.at_destination(stored.shown),
            DiskCopy::Unknown(_) | DiskCopy::Lost(_) | DiskCopy::Absent | DiskCopy::Broken(_) => {
                world
            }
        },
        |mut world, _| {
            world.is_unknown = true;
            world
        },
        |world, shown| world.at_destination(shown.clone()),
        |world, _| world.at_destination(with_left(&["a.example.com", "b.example.com"], 85)),
        |mut world, _| {
            // Ours, and newer.
            let newer = with_left(&["a.example.com", "b.example.com"], 85);
            world.known.insert(newer.leaf.fingerprint, Some(PRODUCTION.to_owned()));
            world.at_destination(newer)
        },
        |mut world, _| {
            let older = with_left(&["a.example.com", "b.example.com"], 5);
            world.known.insert(older.leaf.fingerprint, Some(PRODUCTION.to_owned()));
            world.at_destination(older)
        },
        |world, _| {
            let (from, life) = (-Duration::DAY, Duration::days(3650));
            world.at_destination(self_signed(&["a.example.com"], from, life))
        },
    ];
    let brakes: [fn(&mut World); 13] = [
        |_| {},
        |world| world.record.floor = Some(3),
        |world| world.record.limits = Some(3),
        |world| world.record.authority = Some(3),
        |world| world.record.attempt = Some(3),
        |world| world.record.push = Some(3),
        |world| world.record.change = Some(3),
        |world| world.record.names = BTreeMap::from([("b.example.com", (3, 5))]),
        |world| world.is_ephemeral = true,
        |world| world.is_asked = true,
        |world| {
            let order = order("a.example.com b.example.com", PRODUCTION);
            world.pending = Pending::Order(Box::new(order));
        },
        |world| {
            let mut order = order("a.example.com b.example.com", PRODUCTION);
            order.receive("chain".to_owned(), NOW);
            order.refuse("it is for somebody else");
            world.pending = Pending::Order(Box::new(order));
        },
        |world| {
            let mut order = order("a.example.com b.example.com", PRODUCTION);
            order.finalizing(hours(-30));
            order.put_aside();
            world.aside = vec![order];
        },
    ];
    let mut worlds = Vec::new();
    for left in [80, 29, 10, 7] {
        let shown = whole(left);
        for disk in disks {
            for destination in destinations {
                for brake in brakes {
                    for is_staging in [false, true] {
                        let mut world = world("a.example.com b.example.com");
                        world.policy.is_staging = is_staging;
                        let mut world = destination(disk(world, &shown), &shown);
                        brake(&mut world);
                        worlds.push(world);
                    }
                }
            }
        }
    }
    worlds
}

#[test]
fn every_promise_holds_in_every_small_world() {
    let mut seen: BTreeMap<String, u32> = BTreeMap::new();
    for world in small_worlds() {
        let verdict = world.verdict();
        let what = || format!("{verdict:#?} in {world:#?}");
        *seen.entry(format!("{:?} {:?}", verdict.on_disk, verdict.at_destination)).or_default() +=
            1;
        let is_ordered = matches!(&verdict.asks, Work::Obtain { plan, .. } if !plan.is_resumed);
        let is_resumed = matches!(&verdict.asks, Work::Obtain { plan, .. } if plan.is_resumed);
        let writes = matches!(verdict.asks, Work::Push | Work::Obtain { pushes_first: true, .. });
        // 1. No order is opened while the floor holds, or what came is not judged yet.
        if is_ordered {
            assert_eq!(world.record.floor, None, "{}", what());
            assert!(!matches!(world.pending, Pending::Unreadable(_)), "{}", what());
        }
        // 2. No order contains a name that waits.
        if let Work::Obtain { plan, .. } = &verdict.asks {
            let waits = plan.order.iter().any(|name| world.record.name(name).is_some());
            assert!(!waits || plan.standing.overrules, "{}", what());
        }
        // 3. What is not ours is not touched.
        let foreign = verdict.at_destination == AtDestination::Foreign;
        assert!(!foreign || !writes && !is_ordered && !is_resumed, "{}", what());
        // 4. Nothing is written over a better one: not by staging, not over a newer copy of ours.
        let newer = verdict.at_destination == AtDestination::Newer;
        assert!(!newer || !writes, "{}", what());
        if let (true, DiskCopy::Whole(stored), Some(held)) =
            (writes, &world.disk, world.held.first())
        {
            let there = held.content.as_ref().unwrap();
            let is_better = there.leaf.is_self_signed
                || there.leaf.not_after <= stored.shown.leaf.not_after
                || there.leaf.not_after <= NOW;
            assert!(is_better && NOW < stored.shown.leaf.not_after, "{}", what());
        }
        // 5. What the destination holds and the store has lost is taken back, not bought again.
        if matches!(world.disk, DiskCopy::Lost(_)) && newer {
            assert!(!is_ordered && !is_resumed, "{}", what());
        }
        // 6. Whatever waits says why, and what needs a person is not quiet.
        assert!(!verdict.why.is_empty());
        if verdict.action == Action::Wait {
            assert!(verdict.needs_attention, "{}", what());
        }
        // "I could not tell" is never "it is not there".
        let is_unknown = verdict.on_disk == OnDisk::Unknown
            || verdict.at_destination == AtDestination::Unknown
                && verdict.on_disk != OnDisk::Overdue;
        assert!(!is_unknown || !writes && !is_ordered && !is_resumed, "{}", what());
        // Production is not ordered onto a store that would be lost.
        let is_lost = world.is_ephemeral && !world.policy.is_staging;
        assert!(!(is_lost && is_ordered), "{}", what());
        // The table alone decides, but for what the filter holds back or changes.
        let table = table::decide(verdict.on_disk, verdict.at_destination);
        let is_changed_by_filter = world.policy.is_staging || matches!(verdict.asks, Work::Push);
        assert!(table == verdict.action || is_changed_by_filter, "{}", what());
    }
    // Every cell that is possible was seen.
    for row in OnDisk::ROWS {
        for column in AtDestination::COLUMNS {
            let cell = format!("{row:?} {column:?}");
            let is_possible = table::is_possible(row, column);
            // What is lost is called so only while the destination holds a copy of ours; what is unread was not judged there.
            let is_excused = matches!(row, OnDisk::Lost)
                && matches!(column, AtDestination::Unknown | AtDestination::Foreign)
                || matches!((row, column), (OnDisk::Lost, AtDestination::Replaceable));
            assert_eq!(seen.contains_key(&cell), is_possible && !is_excused, "{cell}");
        }
    }
}
