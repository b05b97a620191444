//! The checkpoint's steps: pause, cut, sync, commit, and what is sealed leaves the table.

use super::state::{Cut, Dice, Number};
use super::{Mistake, World};

enum Deed {
    Wait(usize),
    Pause,
    Sync(Cut, Vec<Number>),
    Forget(Vec<Number>),
}

pub struct Checkpoint {
    deed: Deed,
}

impl Checkpoint {
    pub fn new(dice: &mut Dice) -> Checkpoint {
        Checkpoint { deed: Deed::Wait(dice.within(1..20)) }
    }

    /// `quiet`: all readers rest and all rings are empty.
    pub fn step(&mut self, world: &mut World, quiet: bool) {
        let next = match std::mem::replace(&mut self.deed, Deed::Pause) {
            Deed::Wait(0) => {
                world.paused = !world.made(Mistake::CutWithoutPause);
                Deed::Pause
            }
            Deed::Wait(steps) => Deed::Wait(steps - 1),
            Deed::Pause if world.paused && !quiet => Deed::Pause,
            Deed::Pause => {
                let number = world.numbers;
                let hasty = world.made(Mistake::CutWithoutPause);
                let maps = world.maps();
                let files = maps.rows().map(|(n, row)| (n, row.clone())).collect();
                let cut = Cut { next: maps.next(hasty), files, number };
                world.paused = false;
                let touched = cut.files.keys().copied().collect();
                Deed::Sync(cut, touched)
            }
            Deed::Sync(cut, mut touched) => match touched.pop() {
                Some(number) => {
                    sync(world, number, cut.files[&number].length);
                    Deed::Sync(cut, touched)
                }
                None => commit(world, cut),
            },
            Deed::Forget(mut sealed) => match sealed.pop() {
                Some(number) => {
                    world.maps().slots.iter_mut().for_each(|s| s.table.retain(|n, _| *n != number));
                    Deed::Forget(sealed)
                }
                None => Deed::Wait(world.dice.within(1..20)),
            },
        };
        self.deed = next;
    }
}

fn sync(world: &mut World, number: Number, length: usize) {
    if world.made(Mistake::CommitWithoutSync) {
        return;
    }
    if let Some(file) = world.files.get_mut(&number) {
        file.synced = file.synced.max(Some(length.min(file.bytes.len())));
    }
}

fn commit(world: &mut World, mut cut: Cut) -> Deed {
    if world.made(Mistake::NumberOfCommit) {
        cut.number = world.numbers;
    }
    let sealed = cut.files.iter().filter(|(_, row)| row.sealed).map(|(number, _)| *number).collect();
    world.ledger = Some(cut);
    Deed::Forget(sealed)
}
