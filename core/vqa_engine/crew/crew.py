"""Several sessions side by side: image groups are handed out, replies come back.

One thread, the caller's, decides everything and keeps the journal; each session has a thread
of its own that only loads, asks and releases. All that happens comes through one queue, so
nothing here needs a lock.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator, Iterator, Sequence
from queue import SimpleQueue
from threading import Event

from attrs import evolve

from vqa_engine.adapter import GenerationPlan
from vqa_engine.crew.job import Job, Post
from vqa_engine.crew.place import Site
from vqa_engine.crew.rows import Record, given_up, gone, rows
from vqa_engine.crew.shift import Answered, Happening, Noted, Over, Ready, Shift
from vqa_engine.crew.work import Pair
from vqa_engine.errors import BackendGone, OutOfMemory, PlaceLost, VqaEngineError
from vqa_engine.observer import Observer
from vqa_engine.results import Loaded, MemoryEvent, Note

_LOSSES = 3
"""A job ends when its places were lost this often each, with no reply in between."""

PAUSE = 1.0
"""Seconds before a lost place is tried again: what killed it may need a moment to go away."""


class Crew:
    """Runs jobs at sites, as many of them side by side as there are sites.

    `observer` hears of models and notes. `keep` journals memory events that belong to no
    question. `on_loaded` hears of each job's first model that is ready. `when_idle` is called
    when nothing happened for the moment.
    """

    def __init__(  # noqa: PLR0913  settings, by keyword only
        self,
        sites: Sequence[Site],
        jobs: Sequence[Job],
        plan: GenerationPlan,
        *,
        observer: Observer,
        keep: Callable[[str, tuple[MemoryEvent, ...]], None] = lambda _label, _events: None,
        on_loaded: Callable[[str, Loaded], None] | None = None,
        when_idle: Callable[[], None] = lambda: None,
        pause: float = PAUSE,
    ) -> None:
        self._sites, self._jobs, self._plan = sites, jobs, plan
        self._observer, self._keep, self._when_idle = observer, keep, when_idle
        self._pause, self._on_loaded = pause, on_loaded or observer.loaded
        self._delays: dict[str, float] = {}
        self._posts: list[Post] = []
        self._happenings: SimpleQueue[Happening] = SimpleQueue()

    def records(self) -> Generator[tuple[Job, Record]]:
        """The record of every question, as they come; a job that ends early has its `error`.

        Raises:
            Exception: whatever a place of ours raised that is none of our errors.
        """
        try:
            self._arrange()
            while self._posts:
                if self._happenings.empty():
                    self._when_idle()
                yield from self._take(self._happenings.get())
                self._arrange()
        finally:
            for post in self._posts:
                post.shift.cancel()
            for post in self._posts:
                post.shift.join()

    def _take(self, happening: Happening) -> Iterator[tuple[Job, Record]]:
        if isinstance(happening, Noted):
            self._observer.note(happening.label, happening.note)
            return
        post = next(one for one in self._posts if one.shift is happening.shift)
        match happening:
            case Ready():
                self._welcome(post, happening)
            case Answered():
                yield from self._answered(post, happening)
            case Over():
                yield from self._over(post, happening)

    def _welcome(self, post: Post, ready: Ready) -> None:
        job, presence = post.job, ready.presence
        if post.ending:
            return
        try:
            detail = job.agreement.join(presence)
        except VqaEngineError as error:
            self._retire(post, error)
            post.end()
            return
        post.window, post.presence = ready.loaded.window, presence
        arrival = MemoryEvent(
            strategy="place", call=presence.name, seconds=ready.loaded.seconds, detail=detail
        )
        self._keep(job.label, (arrival, *ready.loaded.events))
        if job.loaded:
            self._say(job, f"{presence.name}: loaded in {ready.loaded.seconds:.1f} s")
        else:
            job.loaded = True
            self._on_loaded(job.label, ready.loaded)
        post.deal()

    def _answered(self, post: Post, answered: Answered) -> Iterator[tuple[Job, Record]]:
        job, place = post.job, post.presence.name if post.presence else ""
        made = rows(job.label, answered.settled, post.shift.plan, answered.seconds, place)
        for question, row, events in made:
            if job.error is not None:
                return
            position = job.work.settle(question)
            job.losses = 0
            if position is not None:
                yield job, (position, row, events)
        if (failure := gone(answered.settled)) and not post.ending:
            self._retire(post, BackendGone(failure.message))
            self._give_back(post, asked=False)
            post.end()
            post.shift.cancel()
        for one in self._posts:
            if one.job is job:
                one.tidy()
        post.deal()

    def _over(self, post: Post, over: Over) -> Iterator[tuple[Job, Record]]:
        job, site, error = post.job, post.shift.site, over.error
        self._posts.remove(post)
        job.places -= 1
        job.released = over.released
        if error is not None and not post.shift.cancelled.is_set():
            self._blame(post, error)
        for position, question in self._give_back(post, asked=isinstance(error, PlaceLost)):
            yield job, (position, given_up(job.label, question, f"the place {site.name}"), ())
        self._keep(job.label, over.released.events)

    def _blame(self, post: Post, error: BaseException) -> None:
        """Decide what the end of a session means for its place."""
        job, site = post.job, post.shift.site
        beside = [one for one in self._posts if not one.ending]
        if not isinstance(error, VqaEngineError):
            raise error
        if isinstance(error, PlaceLost):
            job.losses += 1
            if job.losses < _LOSSES * len(self._sites):
                self._delays[site.name] = self._pause
                self._say(job, f"{error} Its questions go to other places.", logging.WARNING)
                return
        elif isinstance(error, OutOfMemory) and post.presence is None and beside:
            job.alone = all(one.job is not job for one in beside)
            if job.alone:
                return
        self._retire(post, error)

    def _retire(self, post: Post, error: VqaEngineError) -> None:
        job, name = post.job, post.shift.site.name
        job.retired[name] = error
        if len(job.retired) < len(self._sites):
            self._say(job, f"{name} cannot go on: {error}", logging.WARNING)

    def _give_back(self, post: Post, *, asked: bool) -> Sequence[Pair]:
        bundles, post.hand = post.hand, []
        if post.job.over:
            return ()
        return post.job.work.give_back(bundles, asked=asked)

    def _arrange(self) -> None:
        """End what is no longer needed, and start what can be."""
        for job in self._jobs:
            self._close(job)
        for post in self._posts:
            post.deal()
            if post.idle and any(self._may_start(job, post) for job in self._jobs):
                post.end()
        busy = {post.shift.site.name for post in self._posts}
        for site in self._sites:
            if site.name not in busy and (wanting := self._job_for(site)):
                self._start(wanting, site)

    def _close(self, job: Job) -> None:
        posts = [post for post in self._posts if post.job is job]
        if not job.over and not posts and len(job.retired) == len(self._sites):
            job.fail(next(iter(job.retired.values())))
        if job.over:
            for post in posts:
                post.end()
        if job.over and not posts and job.released is not None:
            released, job.released = job.released, None
            if job.loaded:
                self._observer.released(job.label, released)
            if job.work.dropped:
                self._say(job, f"{job.work.dropped} replies came twice and were dropped")

    def _may_start(self, job: Job, idle: Post) -> bool:
        """Whether a job has work for the site of a post that has none."""
        return job is not idle.job and self._wants(job, idle.shift.site)

    def _job_for(self, site: Site) -> Job | None:
        """Of the jobs with work for a site the one with the fewest sites."""
        wanting = [job for job in self._jobs if self._wants(job, site)]
        return min(wanting, key=self._strength, default=None)

    def _wants(self, job: Job, site: Site) -> bool:
        if job.over or not job.work.waiting or site.name in job.retired:
            return False
        others = (post.job for post in self._posts if post.job is not job)
        return not any(job.alone or other.alone for other in others)

    def _strength(self, job: Job) -> int:
        return sum(post.job is job for post in self._posts)

    def _start(self, job: Job, site: Site) -> None:
        if not job.started:
            job.started = True
            self._observer.loading(job.label)
        label, tell = job.label, self._happenings.put
        terms = evolve(job.terms, cancelled=Event(), on_note=lambda note: tell(Noted(label, note)))
        shift = Shift(site, terms, self._plan, tell, self._delays.pop(site.name, 0.0))
        self._posts.append(Post(job, shift))
        job.places += 1
        shift.start()

    def _say(self, job: Job, text: str, level: int = logging.INFO) -> None:
        self._observer.note(job.label, Note(logger=__name__, level=level, text=text))
