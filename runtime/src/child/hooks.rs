//! Hooks that run in the container's namespaces: `createContainer`, and `startContainer` with the rights of the program.

use super::{Child, Next};
use crate::hook::{self, Setting, Tail, Trouble};
use crate::plan::hooks::{Hook, Kind};
use crate::plan::op::Op;
use crate::wire::{HookText, Message};
use rustix::event::PollFlags;
use rustix::io::Errno;
use sys::exec::CStringArray;

impl<'a> Child<'a> {
    /// Runs a hook. If it fails, the parent is told how, and what it wrote.
    pub(super) fn hook(&mut self, hook: &'a Hook, step: usize) -> Result<Next, Errno> {
        // Where the last mount was made is nobody's business.
        if hook.kind == Kind::CreateContainer {
            rustix::process::chdir(c"/")?;
        }
        let inherited;
        let env = match &hook.env {
            Some(env) => env,
            None => {
                inherited = self.environment()?;
                &inherited
            }
        };
        let setting = Setting {
            pid: Some(rustix::process::getpid()),
            env,
            outputs: &self.resources.hook_outputs,
            contained: hook.kind == Kind::CreateContainer,
            // Killed, whoever waits for us leaves the container to nobody, and the hook may hang. What can be read there is for the hook's
            // process: the answer about its seccomp listener.
            ended_by: [Some((self.peer, PollFlags::empty())), None],
            ends_with: None,
        };
        let ran = hook::run(hook, &setting, || match hook.kind {
            Kind::StartContainer => self.become_like_the_program(step),
            _ => Ok(()),
        });
        match ran {
            Ok(()) => Ok(Next::Step),
            Err(Trouble::System(errno)) => Err(errno),
            Err(Trouble::Unwanted) => Err(Errno::PIPE),
            Err(Trouble::Step { step, errno }) => {
                Message::Failure { step, errno }.send(self.peer)?;
                Ok(Next::Failed)
            }
            Err(Trouble::Failed(end, tails)) => {
                Message::Hook { step, end }.send(self.peer)?;
                HookText::send(tails.each_ref().map(Tail::as_bytes), self.peer)?;
                Ok(Next::Failed)
            }
        }
    }

    /// In the hook's process: the steps between the hook and the program's exec, taken as the program's process will take them.
    fn become_like_the_program(&mut self, hook: usize) -> Result<(), (usize, Errno)> {
        for (index, step) in self.steps.iter().enumerate().skip(hook + 1) {
            match &step.op {
                Op::Hook(_) | Op::Wait(_) | Op::Exec { .. } => {}
                op => self.apply(op, index).map(drop).map_err(|errno| (index, errno))?,
            }
        }
        Ok(())
    }

    /// That of the program.
    fn environment(&self) -> Result<CStringArray, Errno> {
        let env = self.steps.iter().rev().find_map(|step| match &step.op {
            Op::Exec { env, .. } => Some(env),
            _ => None,
        });
        let mut env = env.ok_or(Errno::INVAL)?.clone();
        if let Some(home) = &self.home {
            env.push(home.clone());
        }
        Ok(env)
    }
}
