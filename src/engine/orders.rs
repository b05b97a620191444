//! What the operator wants of the running program, and what a new configuration makes of it.

use std::sync::Arc;

use crossbeam_channel::Sender;

use super::queue::Asked;
use super::reload::{self, Step};
use super::seat::{Id, Seek, State};
use super::seek::Place;
use super::watch::{self, Found};
use super::{Answer, Engine, Order};
use crate::conf::Loaded;
use crate::flow::cluster::Target;
use crate::ledger::queue::Job;
use crate::reader::scout::{self, Ask};

impl Engine {
    /// Obeys, or refuses. Who asked may have gone.
    pub(super) fn order(&mut self, order: Order, answer: Sender<Answer>) {
        let told = match order {
            Order::Stop => {
                log::info!("told to stop");
                self.stop();
                Ok("stopping".into())
            }
            Order::Reload => return self.ask_reload(Some(answer)),
            Order::Pause(task) => self.pause(&task, true),
            Order::Resume(task) => self.pause(&task, false),
            Order::Seek { task, topic, partition, to } => match self.seek(&task, &topic, partition, to, &answer) {
                // The answer comes once it is done.
                Ok(()) => return,
                Err(why) => Err(why),
            },
            Order::Retry { task, filter } => return self.order_job(task.as_deref(), &Job::new(false, filter), answer),
            Order::Clear { task, filter } => return self.order_job(task.as_deref(), &Job::new(true, filter), answer),
        };
        let _ = answer.try_send(told);
    }

    fn pause(&mut self, name: &str, paused: bool) -> Answer {
        if self.pause_collect(name, paused).is_none() {
            let (_, seat) = self.seats.named(name).ok_or_else(|| no_task(name))?;
            seat.paused = paused;
            if let Some(task) = seat.task_mut() {
                task.set_paused(paused);
            }
        }
        let told =
            format!("{name} {}", if paused { "is paused: it reads nothing until it is resumed" } else { "runs" });
        log::info!("{told}");
        Ok(told)
    }

    /// One task's failure queue, or all of them: none is touched where one refuses.
    fn order_job(&mut self, task: Option<&str>, job: &Job, answer: Sender<Answer>) {
        let refuse = |what: String| {
            let _ = answer.try_send(Err(what));
        };
        if let Err(what) = job.filter.check() {
            return refuse(what);
        }
        let mut tasks = Vec::new();
        for seat in self.seats.wanted().filter(|seat| task.is_none_or(|name| seat.deliver.name == name)) {
            let State::Running(task) = &mut seat.state else {
                return refuse(format!("{} is still starting; ask again", seat.deliver.name));
            };
            if let Err(what) = task.job_may_begin() {
                return refuse(what);
            }
            tasks.push(task);
        }
        if tasks.is_empty() {
            return refuse(task.map_or_else(|| "there is no task".into(), no_task));
        }
        let asked = Arc::new(Asked::new(answer, job.clear));
        tasks.into_iter().for_each(|task| task.order_job(job.clone(), Some(asked.clone())));
    }

    /// The scout says first what place is meant.
    fn seek(
        &mut self,
        name: &str,
        topic: &str,
        partition: i32,
        to: Target,
        answer: &Sender<Answer>,
    ) -> Result<(), String> {
        let (_, seat) = self.seats.named(name).ok_or_else(|| no_task(name))?;
        let State::Running(task) = &seat.state else { return Err(format!("{name} is still starting; ask again")) };
        let known = task.known(topic, partition).filter(|_| seat.deliver.topics.iter().any(|t| t == topic));
        let index = known.ok_or_else(|| format!("{name} does not read {topic}/{partition}"))?;
        if seat.seek.is_some() {
            return Err(format!("{name} looks for the place of another seek; ask again"));
        }
        task.ask(Ask::Target(index, partition, to)).map_err(|_| format!("{name} waits for its brokers; ask again"))?;
        seat.seek = Some(Seek::Asked(answer.clone()));
        Ok(())
    }

    /// The place of a seek is known: the task drains, the place is stored, and it begins anew.
    pub(super) fn on_target(&mut self, id: Id, found: Result<scout::Place, String>) {
        let Some(seat) = self.seats.get_mut(id) else { return };
        let Some(Seek::Asked(answer)) = seat.seek.take() else { return };
        match (found, &seat.state) {
            (Ok(scout::Place { topic, partition, offset }), State::Running(task)) => {
                let place = Place { topic: task.topics[usize::from(topic)].clone(), partition, offset };
                let (deliver, program) = (seat.deliver.clone(), seat.program.clone());
                self.seats.replace(id, deliver, program, Some(Seek::Found(place, answer)));
            }
            (Err(why), _) => drop(answer.try_send(Err(why))),
            // The task ends, and who asked hears that nothing came of it.
            (Ok(_), _) => {}
        }
    }

    pub(super) fn ask_reload(&mut self, answer: Option<Sender<Answer>>) {
        if let Err(refused) = self.reload.try_send(watch::Ask::Told(answer)) {
            log::warn!("a reload is under way, and enough others wait for it");
            if let watch::Ask::Told(Some(answer)) = refused.into_inner() {
                let _ = answer.try_send(Err("a reload is under way, and enough others wait for it".into()));
            }
        }
    }

    /// All of it, or nothing.
    pub(super) fn on_reload(&mut self, Found { loaded, ask }: Found) {
        let told = match loaded {
            _ if self.stopping.is_some() => Err("the program is about to stop".into()),
            Err(problems) => {
                let generation = self.board.generation();
                let text = format!("nothing is applied, generation {generation} stays:\n{problems}");
                log::error!("the configuration is refused, {text}");
                Err(text)
            }
            Ok(loaded) => Ok(self.apply(loaded, &ask)),
        };
        if let watch::Ask::Told(Some(answer)) = ask {
            let _ = answer.try_send(told);
        }
    }

    fn apply(&mut self, mut loaded: Loaded, ask: &watch::Ask) -> String {
        let steps = reload::steps(&self.loaded, &loaded);
        let changes = steps.iter().any(|step| !matches!(step, Step::Refuse(_)));
        if !changes && matches!(ask, watch::Ask::Files) {
            return String::new();
        }
        loaded.warnings.iter().for_each(|warning| log::warn!("{warning}"));
        let generation = self.board.generation() + u64::from(changes);
        let mut lines = vec![reload::line(generation, &steps)];
        lines.extend(steps.iter().map(Step::told));
        lines.iter().for_each(|line| log::info!("{line}"));
        loaded.config.process = self.loaded.config.process.clone();
        self.loaded = loaded;
        self.board.set_generation(generation);
        steps.iter().for_each(|step| self.take(step));
        self.want_collects();
        lines.join("\n")
    }

    fn take(&mut self, step: &Step) {
        let (Step::Add(name) | Step::Remove(name) | Step::Restart(name, _) | Step::Live(name, _)) = step else {
            return;
        };
        let task = self.loaded.config.deliver.iter().find(|task| task.name == *name).cloned();
        let program = self.loaded.programs.get(name).cloned().unwrap_or_default();
        match (step, self.seats.named(name), task) {
            (Step::Remove(_), Some((id, _)), _) => self.seats.leave(id),
            (Step::Restart(..), Some((id, seat)), Some(task)) => {
                seat.retry = true;
                self.seats.replace(id, task, program, None);
            }
            (Step::Live(..), Some((_, seat)), Some(task)) => {
                seat.deliver = task;
                seat.program = program;
                if let State::Running(task) = &mut seat.state {
                    task.set_live(&seat.deliver, &seat.program);
                    task.retry_after_reload();
                } else {
                    seat.retry = true;
                }
            }
            (_, None, Some(task)) => self.seats.add(task, program),
            _ => {}
        }
    }
}

fn no_task(name: &str) -> String {
    format!("there is no task {name}")
}
