"""Configurations composed from files and overrides: what wins, what is refused, what is said."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from metaexp.config.command_line.overrides import _SAMPLERS
from metaexp.config.compose import Composer, hydra_files
from metaexp.config.identity import deviations
from metaexp.config.purpose import Purpose
from metaexp.config.revise import revise
from metaexp.config.schema import Settings
from metaexp.core.errors import ConfigError


@pytest.fixture(scope="module")
def composer() -> Composer:
    return Composer()


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """An empty config folder of a user's."""
    folder = tmp_path / "my_conf"
    folder.mkdir()
    return folder


def write(folder: Path, name: str, text: str) -> None:
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(text)


def problems(composer: Composer, *overrides: str) -> list[str]:
    """What is said against these overrides."""
    with pytest.raises(ConfigError) as caught:
        composer.settings(overrides)
    return caught.value.problems


def settings(composer: Composer, *overrides: str) -> Settings:
    return composer.settings(overrides, Purpose.PLAN)


def test_choices_and_values_override_the_defaults(composer: Composer) -> None:
    found = settings(composer, "algorithm=reptile", "device=cuda", "seed=3", "train.steps=7")
    assert found.choices["algorithm"] == "reptile"
    assert found.algorithm.target == "metaexp.algorithms.reptile.Reptile"
    assert found.device.accelerator == "cuda"
    assert (found.seed, found.train.steps) == (3, 7)
    assert settings(composer).choices["algorithm"] == "maml"


def test_training_follows_the_task_unless_set_otherwise(composer: Composer) -> None:
    assert settings(composer, "task=5way_5shot").train.shape == settings(composer, "task=5way_5shot").task.shape
    apart = settings(composer, "algorithm=proto_net", "train.n_way=60")
    assert (apart.train.n_way, apart.task.n_way) == (60, 5)


def test_an_experiment_is_chosen_without_a_plus_and_overrides_come_on_top(composer: Composer) -> None:
    name = "experiment=maml_omniglot_5way_1shot"
    found = settings(composer, name, "train.steps=5", "algorithm.first_order=true")
    assert found.experiment == "maml_omniglot_5way_1shot"
    assert found.choices["dataset"] == "omniglot"
    assert found.algorithm.arguments["first_order"] is True
    assert found.reference is not None
    assert settings(composer, name, "dataset=glyphs", "~dataset.split", *_OMNIGLOT_KEYS).choices["dataset"] == "glyphs"
    assert settings(composer, "experiment=null").experiment is None


_OMNIGLOT_KEYS = [f"~dataset.{key}" for key in ("rotations", "rotations_in", "resize", "image_size", "invert")]


def test_a_dataset_brings_a_fitting_task_and_model_that_others_overrule(composer: Composer) -> None:
    fitting = settings(composer, "dataset=sinusoid")
    assert fitting.choices["task"].startswith("regression")
    assert fitting.choices["model"] == "mlp_sinusoid"
    assert fitting.train.n_way == 0
    assert settings(composer, "dataset=sinusoid", "model=mlp").choices["model"] == "mlp"
    assert settings(composer, "experiment=maml_sinusoid").task.k_shot == 5
    assert settings(composer).choices["model"] != "mlp_sinusoid"


UNREADABLE = {
    "foo": "'foo' is not an override; write key=value without spaces, such as algorithm=maml or train.steps=2000, ",
    "=": "'=' is not an override; write key=value without spaces, ",
    "=maml": "'=maml' is not an override; write key=value without spaces, ",
    "seed=1,2": "seed=1,2 holds several values; metaexp train -m and evaluate take them; [1,2] is one value, a list.",
    "task=4way": "task=4way is not there. Known: 20way_1shot, ",
    "device=gpu": "device=gpu is not there. Did you mean cpu? Known: auto, cpu, cuda, mps.",
    "model=3": "model=3 is not there.",
    "++model=mlp": "++model=mlp: write model=mlp, without ++.",
    "train.steps=[1": "train.steps=[1 cannot be read: [ is not closed. Write ] at the end. If the value has spaces, ",
    "seed=range(0,3": "seed=range(0,3 cannot be read: ( is not closed. Write ) at the end. ",
    "dataset.normalise=[0.5,": "dataset.normalise=[0.5, cannot be read: [ is not closed. ",
    "tags={a: [1, '('": "tags={a: [1, '(' cannot be read: [ is not closed. ",
    "seed=0,": "seed=0, cannot be read: a value is missing beside a comma. Write key=value without spaces, ",
    "seed=0,,1": "seed=0,,1 cannot be read: a value is missing beside a comma. ",
    "seed=,1": "seed=,1 cannot be read: a value is missing beside a comma. ",
    "train.steps = 10": "train.steps = 10 cannot be read: token recognition error at: ' '. Write it without spaces "
    "beside the =: 'train.steps=10'.",
    "notes=a'b": "notes=a'b cannot be read: token recognition error at: ''b'. Quote special characters twice: ",
    "seed=0;1": "seed=0;1 cannot be read: token recognition error at: ';'. Quote special characters twice: ",
    "notes=[a]]": "notes=[a]] cannot be read: extraneous input ']' expecting <EOF>. Quote special characters twice: ",
    "seed=interval(1)": "seed=interval(1) cannot be read: TypeError while evaluating 'interval(1)': missing a required "
    "argument: 'end'. Values that vary are written as range(0, 5), choice(a, b), interval(0.01, 1) or ",
    "seed=loguniform(1,2)": "seed=loguniform(1,2) cannot be read: HydraException while evaluating 'loguniform(1,2)': "
    "Unknown function 'loguniform'. Values that vary are written as range(0, 5), ",
    "notes=int(a)": "notes=int(a) cannot be read: ValueError while evaluating 'int(a)': invalid literal for int() with "
    "base 10: 'a'. Quote special characters twice: ",
    "hydra.job.chdir=true": "hydra.job.chdir cannot be set: metaexp does that itself.",
    "seeed=1": "seeed is not a key of the configuration. Did you mean seed?",
    "+seeed=1": "seeed is not a key of the configuration. Did you mean seed?",
    "++train.stps=1": "train.stps is not a key of train. Did you mean train.steps?",
    "train.stps=1": "train.stps is not a key of train. Did you mean train.steps?",
    "algorithm.inner_lrr=1": "algorithm.inner_lrr is not an argument of metaexp.algorithms.maml.MAML. Did you mean ",
    "experment=maml_sinusoid": "experment is not a key of the configuration. Did you mean experiment?",
    "resum=outputs/RUN": "resum is not a key of the configuration. Did you mean resume?",
    "algoritm=maml": "algoritm is not a key of the configuration. Did you mean algorithm?",
    "+train.steps=3": "+train.steps=3: train.steps is there already; write train.steps=3, without the plus.",
    "~train.stps": "~train.stps: there is no train.stps to take out.",
    "experiment=maml": "experiment=maml is not there.",
    "seed=${nothing}": "seed=${nothing} cannot be resolved: Interpolation key 'nothing' not found.",
    "lr=1": "lr is not a key of the configuration. Did you mean optimizer.lr?",
    "inner_lr=1": "inner_lr is not a key of the configuration. Did you mean algorithm.inner_lr?",
    "steps=3": "steps is not a key of the configuration. Did you mean train.steps?",
    "train.n_wy=3": "train.n_wy is not a key of train. Did you mean train.n_way?",
    "train.accelerator=cpu": "train.accelerator is not a key of train. Did you mean device.accelerator?",
    "n_way=3": "n_way is not a key of the configuration. Did you mean task.n_way?",
    "zzz=1": "zzz is not a key of the configuration. Known: seed, train, ",
    "seed=???": "seed has no value; give it one: it must be an integer >= 0.",
}


def test_of_many_experiments_those_with_the_given_word_are_named(composer: Composer) -> None:
    (found,) = problems(composer, "experiment=Meta_SGD_omni")
    assert ", such as meta_sgd_omniglot_5way_1shot, meta_sgd_omniglot_5way_5shot with Meta_SGD_omni, which " in found
    (none,) = problems(composer, "experiment=zzz")
    assert " names, which metaexp train --help lists." in none


@pytest.mark.parametrize(
    ("override", "advice"),
    [
        ("seed=0;1", "'seed=\"0;1\"'"),
        ("notes=x[0]", "'notes=\"x[0]\"'"),
        ("tags=[Dose (mg/kg)]", "'tags=[\"Dose (mg/kg)\"]'"),
        ("tags=[a;b, c]", '\'tags=["a;b","c"]\''),
        ("tags=[[a;b], c]", "'key=\"value\"'"),
        ("notes=a'b", "'key=\"value\"'"),
    ],
)
def test_an_override_with_special_characters_is_shown_in_its_quotes_which_can_be_read(
    composer: Composer, override: str, advice: str
) -> None:
    (found,) = problems(composer, override)
    assert found.endswith(f". Quote special characters twice: {advice}.")
    (shown,) = shlex.split(advice)
    if not shown.startswith("key=") and not shown.startswith("seed="):
        settings(composer, shown)


@pytest.mark.parametrize("override", UNREADABLE)
def test_each_mistaken_override_gets_its_sentence(composer: Composer, override: str) -> None:
    found = problems(composer, override)
    assert len(found) == 1
    assert found[0].startswith(UNREADABLE[override])


def test_mistakes_of_every_sort_are_reported_together(composer: Composer) -> None:
    wrong = ["foo", "task=4way", "seeed=1", "+train.stps=1", "optimizer.lr=nan", "algorithm.adapt=most", "clip=norm"]
    found = problems(composer, *wrong)
    assert len(found) == len(wrong) - 1  # clip=norm is right
    for name in ("'foo'", "task=4way", "seeed", "train.stps", "optimizer.lr=nan", "algorithm.adapt=most"):
        assert sum(problem.startswith(name) for problem in found) == 1, name


def test_values_of_a_wrong_choice_are_not_held_against_another(composer: Composer) -> None:
    assert len(problems(composer, "model=conv5", "model.depth=5")) == 1


def test_a_missing_key_is_reported_without_advice_to_add_a_typo(composer: Composer) -> None:
    for override in ("seeed=1", "train.stps=1"):
        assert all("+" not in problem for problem in problems(composer, override))


def test_the_environment_is_read_for_paths_only(composer: Composer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("METAEXP_DATA", "/elsewhere")
    monkeypatch.setenv("A_SECRET", "hunter2")
    assert str(settings(composer).paths.data) == "/elsewhere"
    (problem,) = problems(composer, "paths.outputs=${oc.env:A_SECRET}")
    assert "reads an environment variable other than METAEXP_*" in problem
    assert "hunter2" not in problem
    for override in (
        "seed=${oc.env:A_SECRET}",
        "tracker.wandb.project=${ oc.env:A_SECRET}",
        "optimizer.betas=[${oc.env:A_SECRET}]",
    ):
        (problem,) = problems(composer, override)
        assert "reads the environment, which only paths.* may do" in problem
        assert "hunter2" not in problem


def test_a_home_folder_is_expanded(composer: Composer) -> None:
    assert settings(composer, "paths.data='~/data'").paths.data == Path.home() / "data"


def test_a_folder_of_ones_own_adds_choices(own: Path) -> None:
    write(own, "model/small.yaml", OmegaConf.to_yaml(settings(Composer()).model.node() | {"channels": 8}))
    write(own, "experiment/mine.yaml", "# @package _global_\ndefaults:\n  - override /model: small\nseed: 5\n")
    composer = Composer(own)
    assert settings(composer, "model=small").model.arguments["channels"] == 8
    assert settings(composer, "experiment=mine").seed == 5
    assert "small" in composer.groups()["model"]
    assert "small" not in Composer().groups()["model"]


@pytest.mark.parametrize("name", ["mine.yml", "mine.YAML", "Mine.Yml", "mine.yaml.txt", "mine"])
def test_a_file_with_another_ending_is_said_to_be_there(own: Path, name: str) -> None:
    for group in ("optimizer", "tracker", "experiment"):
        write(own, f"{group}/{name}", "lr: 1")
    write(own, "optimizer/mine_too.yml", "lr: 1")
    write(own, "experiment/choosing.yaml", "# @package _global_\ndefaults:\n  - override /optimizer: mine\n")
    composer = Composer(own)
    for override in ("optimizer=mine", "optimizer=mine.yml", "tracker=[files,mine]", "experiment=mine"):
        group = override.partition("=")[0]
        (problem,) = problems(composer, override)
        assert f"is not there. {own / group / name} is there: call it mine.yaml." in problem
    (problem,) = problems(composer, "experiment=choosing")
    assert problem.endswith(f" sgd. {own / 'optimizer' / name} is there: call it mine.yaml.")
    (problem,) = problems(composer, "optimizer=yours")
    assert "call it" not in problem


@pytest.mark.parametrize(
    ("name", "given", "kind"),
    [
        ("nan", "nan", "a number"),
        ("1e-3", "1e-3", "a number"),
        ("1e-3", "0.001", "a number"),
        ("12", "12", "a number"),
        ("null", "null", "no value"),
        ("true", "true", "true or false"),
    ],
)
def test_a_file_whose_name_is_read_as_another_value_is_chosen_in_quotes(
    own: Path, name: str, given: str, kind: str
) -> None:
    write(own, f"optimizer/{name}.yaml", "_target_: torch.optim.SGD\nlr: 0.25\n")
    composer = Composer(own)
    assert problems(composer, f"optimizer={given}") == [
        f"optimizer={name} is read as {kind}, and not as the name of the file {name}.yaml. Quote the name twice, "
        f"\"optimizer='{name}'\", or give the file another name."
    ]
    assert settings(composer, f"optimizer='{name}'").optimizer.arguments["lr"] == 0.25
    assert problems(composer, "optimizer=7.5")[0].startswith("optimizer=7.5 is not there.")


def test_an_experiment_with_a_line_before_its_package_is_told_what_its_first_line_must_be(own: Path) -> None:
    text = "# @package _global_\n# mine.yaml\ndefaults:\n  - override /algorithm: maml\n"
    write(own, "experiment/right.yaml", text)
    write(own, "experiment/wrong.yaml", f"# A comment.\n{text}")
    assert settings(Composer(own), "experiment=right").choices["algorithm"] == "maml"
    (found,) = problems(Composer(own), "experiment=wrong")
    assert "'experiment/wrong'" in found
    assert "The first line of an experiment must be `# @package _global_`" in found
    write(own, "dataset/wrong.yaml", "defaults:\n  - override /model: conv4\n_target_: metaexp.data.glyphs.Glyphs\n")
    (found,) = problems(Composer(own), "dataset=wrong")
    assert "name the other group from the root" in found
    assert "@package" not in found


def test_another_root_file_can_be_named(own: Path) -> None:
    write(own, "other.yaml", "defaults:\n  - config\n  - _self_\nseed: 9\n")
    assert settings(Composer(own, "other")).seed == 9
    with pytest.raises(ConfigError, match="nothere"):
        settings(Composer(own, "nothere"))


def test_a_folder_that_is_not_there_or_hides_shipped_files_is_refused(own: Path) -> None:
    with pytest.raises(ConfigError, match=r"--config-dir .*nowhere: there is no such folder"):
        Composer(own / "nowhere")
    write(own, "algorithm/maml.yaml", "a: 1\n")
    with pytest.raises(ConfigError, match=r"maml.yaml has the name of a shipped file"):
        Composer(own)


HOSTILE = {
    "callbacks": "hydra:\n  callbacks:\n    evil:\n      _target_: os.system\n",
    "logging factory": "hydra:\n  job_logging:\n    handlers:\n      evil:\n        (): os.system\n",
    "environment": "hydra:\n  job:\n    env_set:\n      LD_PRELOAD: evil.so\n",
    "launcher": "defaults:\n  - override /hydra/launcher: evil\n",
    "package": None,
}


@pytest.mark.parametrize("door", HOSTILE)
def test_a_file_cannot_reach_into_hydra(own: Path, door: str) -> None:
    if HOSTILE[door] is None:
        write(own, "experiment/evil.yaml", "# @package hydra.callbacks\nevil:\n  _target_: os.system\n")
    else:
        write(own, "experiment/evil.yaml", f"# @package _global_\n{HOSTILE[door]}")
    write(own, "hydra/launcher/evil.yaml", "_target_: os.system\n")
    write(own, "experiment/harmless.yaml", "# @package _global_\nseed: 1\n")
    composer = Composer(own)
    (problem,) = problems(composer, "experiment=evil")
    assert "experiment/evil.yaml" in problem
    assert settings(composer, "experiment=harmless").seed == 1


def test_a_root_file_of_ones_own_cannot_reach_into_hydra(own: Path) -> None:
    write(own, "other.yaml", f"defaults:\n  - config\n  - _self_\n{HOSTILE['callbacks']}")
    (problem,) = problems(Composer(own, "other"))
    assert problem.startswith("other.yaml has a hydra section")


def test_a_launcher_of_ones_own_must_be_a_plugin_of_hydra(own: Path) -> None:
    write(own, "hydra/launcher/evil.yaml", "_target_: os.system\n")
    write(own, "hydra/launcher/fine.yaml", "_target_: hydra._internal.core_plugins.basic_launcher.BasicLauncher\n")
    composer = Composer(own)
    (problem,) = problems(composer, "hydra/launcher=evil")
    assert problem.startswith("hydra.launcher._target_=os.system is refused")
    assert settings(composer, "hydra/launcher=fine").seed == 0


@pytest.mark.parametrize("line", ["task: [1, 2]", "eval: {metrics: {mae: 1}}"])
def test_a_list_where_a_mapping_is_and_the_reverse_are_explained(own: Path, line: str) -> None:
    write(own, "experiment/clash.yaml", f"# @package _global_\n{line}\n")
    (problem,) = problems(Composer(own), "experiment=clash")
    assert problem.startswith("In 'experiment/clash': a list stands where the files before have a mapping")
    write(own, "experiment/fits.yaml", "# @package _global_\ntask: {k_shot: 2}\neval: {metrics: [nll]}\n")
    assert settings(Composer(own), "experiment=fits").task.k_shot == 2


def test_files_that_choose_one_another_in_a_circle_are_explained(own: Path) -> None:
    write(own, "experiment/one.yaml", "# @package _global_\ndefaults:\n  - two\n")
    write(own, "experiment/two.yaml", "# @package _global_\ndefaults:\n  - one\n")
    (problem,) = problems(Composer(own), "experiment=one")
    assert "files choose one another in a circle in their defaults" in problem


def test_a_file_that_is_not_yaml_is_named(own: Path) -> None:
    write(own, "model/broken.yaml", "a: [1\nb: }")
    (problem,) = problems(Composer(own), "model=broken")
    assert "cannot be read" in problem


def test_an_experiment_file_with_unknown_keys_is_refused(own: Path) -> None:
    write(own, "experiment/typo.yaml", "# @package _global_\ntrain:\n  stps: 3\nalgorithm:\n  inner_rate: 1\n")
    assert len(problems(Composer(own), "experiment=typo")) == 2


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("hydra.run.dirr=x", "hydra.run.dirr is not a key of hydra.run. Did you mean dir? Known: dir."),
        (
            "hydra.launcher.n_jobs=2",
            "hydra.launcher.n_jobs is not a key of hydra.launcher. It has none. Choose another launcher in the same "
            "command: hydra/launcher=NAME.",
        ),
        (
            "hydra.sweeper.n_trials=3",
            f"hydra.sweeper.n_trials=3: {_SAMPLERS}",
        ),
    ],
)
def test_a_key_that_hydra_does_not_have_is_named_beside_those_that_it_has(
    composer: Composer, line: str, said: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        composer.settings([line])
    assert caught.value.problems == [said]


def test_what_hydra_keeps_of_a_job_can_be_read_back(composer: Composer) -> None:
    job = composer.job(["seed=3", "train.steps=2"])
    files = hydra_files(job.composed)
    assert OmegaConf.create(files[".hydra/overrides.yaml"]) == ["seed=3", "train.steps=2"]
    config = OmegaConf.create(files[".hydra/config.yaml"])
    assert (config.seed, config.train.steps) == (3, 2)
    section = OmegaConf.create(files[".hydra/hydra.yaml"])
    assert section.hydra.runtime.choices.algorithm == "maml"
    assert files[".hydra/hydra.yaml"] == OmegaConf.to_yaml(section), "as OmegaConf writes it"
    assert section.hydra.job.override_dirname == job.composed.hydra.job.override_dirname
    assert {*section.hydra, "help", "hydra_help"} == set(job.composed.hydra)


def test_deviations_from_an_experiment_are_those_that_decide_numbers(composer: Composer) -> None:
    name = "maml_omniglot_5way_1shot"
    published = composer.published(name).resolved
    same = settings(composer, f"experiment={name}", "seed=4", "train.steps=3", "device=cuda", "train.log_every=1")
    other = settings(composer, f"experiment={name}", "algorithm.inner_lr=0.1", "clip=norm")
    assert deviations(same.resolved, published) == []
    assert sorted(deviations(other.resolved, published)) == [
        "algorithm.inner_lr=0.1",
        "clip._target_=metaexp.core.optim.ClipNorm",
        "clip.threshold=0.25",
    ]


def test_an_experiment_that_inherits_its_reference_is_compared_with_the_one_that_states_it(own: Path) -> None:
    """A paper's number says nothing of settings that a user's file has changed."""
    head = "# @package _global_\ndefaults:\n  - /experiment/maml_sinusoid\n"
    write(own, "experiment/mine.yaml", f"{head}algorithm:\n  inner_lr: 0.5\ntrain:\n  steps: 7\n")
    write(own, "experiment/nested.yaml", head.replace("maml_sinusoid", "mine"))
    stated = "reference: {paper: Mine, table: none, metric: mse, value: 0.5, protocol: mine}\n"
    write(own, "experiment/stated.yaml", f"{head}algorithm:\n  inner_lr: 0.5\n{stated}")
    write(own, "experiment/none.yaml", f"{head}algorithm:\n  inner_lr: 0.5\nreference: null\n")
    composer = Composer(own)
    for name, expected in {"mine": 0.01, "nested": 0.01, "stated": 0.5, "none": 0.5, "maml_sinusoid": 0.01}.items():
        published = composer.published(name)
        assert published.algorithm.arguments["inner_lr"] == expected, name
        assert published.train.steps == 70000
    ours = settings(composer, "experiment=mine").resolved
    assert deviations(ours, composer.published("mine").resolved) == ["algorithm.inner_lr=0.5"]


def test_an_earlier_configuration_is_revised_without_reading_its_files_again(composer: Composer) -> None:
    before = settings(composer, "algorithm.inner_lr=0.3", "train.steps=7")
    kept = dict(before.resolved) | {"model": before.model.node() | {"channels": 5}}  # unlike today's file
    after = revise(kept, before.choices, ["task.k_shot=5", "dataset=omniglot", "eval.episodes=9"])
    assert after.model.arguments["channels"] == 5
    assert (after.algorithm.arguments["inner_lr"], after.train.steps, after.train.k_shot) == (0.3, 7, 1)
    assert (after.task.k_shot, after.eval.episodes) == (5, 9)
    assert after.choices["dataset"] == "omniglot"
    assert after.dataset.target == "metaexp.data.omniglot.Omniglot"


def test_a_wrong_revision_is_refused_like_a_wrong_configuration(composer: Composer) -> None:
    before = settings(composer)
    with pytest.raises(ConfigError) as caught:
        revise(before.resolved, before.choices, ["task.n_wy=5", "dataset=omniglt", "eval.episodes=0", "foo"])
    assert len(caught.value.problems) == 4


def test_an_earlier_configuration_takes_neither_an_experiment_nor_a_launcher(composer: Composer) -> None:
    before = settings(composer)
    with pytest.raises(ConfigError) as caught:
        revise(before.resolved, before.choices, ["experiment=maml_sinusoid", "hydra/launcher=basic", "seed=1"])
    assert [problem.partition(" ")[0] for problem in caught.value.problems] == [
        "experiment=maml_sinusoid",
        "hydra/launcher=basic",
    ]


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        ([], 0.4),
        (["dataset=sinusoid"], 0.01),
        (["dataset=sinusoid", "algorithm=maml"], 0.01),
        (["dataset=sinusoid", "algorithm=anil"], 0.01),
        (["dataset=sinusoid", "algorithm=maml_plus_plus"], 0.01),
        (["dataset=curves"], 0.01),
        (["dataset=curves", "algorithm=maml_plus_plus"], 0.01),
        (["algorithm=maml_plus_plus"], 0.1),
        (["dataset=sinusoid", "task=5way_1shot", "task.n_way=0"], 0.01),
        (["dataset=sinusoid", "algorithm.inner_lr=0.3"], 0.3),
        (["experiment=maml_sinusoid", "algorithm.inner_lr=0.2"], 0.2),
    ],
)
def test_regression_has_a_smaller_inner_rate_whatever_the_dataset_is_called(
    overrides: list[str], expected: float
) -> None:
    settings = Composer().settings(overrides, Purpose.PLAN)
    assert settings.algorithm.arguments["inner_lr"] == expected
    assert settings.resolved["algorithm"]["inner_lr"] == expected


@pytest.mark.parametrize("rule", ["for_dataset:Sinusoid", "for_regression:0.1"])
def test_a_rule_that_is_written_wrongly_is_explained(rule: str) -> None:
    with pytest.raises(ConfigError, match=r"algorithm\.inner_lr=.*cannot be resolved"):
        Composer().settings([f"algorithm.inner_lr='${{{rule}}}'"], Purpose.PLAN)


@pytest.mark.parametrize(("name", "expected"), [("Sinusoid", 1.0), ("Glyphs", 2.0)])
def test_the_rule_for_a_class_of_datasets_that_earlier_files_have_still_works(name: str, expected: float) -> None:
    rule = f"algorithm.inner_lr='${{for_dataset:{name},1.0,2.0}}'"
    settings = Composer().settings(["dataset=sinusoid", rule], Purpose.PLAN)
    assert settings.algorithm.arguments["inner_lr"] == expected


def test_another_dataset_for_an_earlier_run_is_looked_for_where_the_environment_says(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("METAEXP_DATA", raising=False)
    earlier = Composer().settings(["paths.data=/then"], Purpose.PLAN)
    assert revise(earlier.resolved, earlier.choices, ["dataset=omniglot"]).paths.data == Path("/then")
    monkeypatch.setenv("METAEXP_DATA", "/now")
    assert revise(earlier.resolved, earlier.choices, ["dataset=omniglot"]).paths.data == Path("/now")
    assert revise(earlier.resolved, earlier.choices, ["task.n_query=2"]).paths.data == Path("/then")
    given = revise(earlier.resolved, earlier.choices, ["dataset=omniglot", "paths.data=/here"])
    assert given.paths.data == Path("/here")


@pytest.mark.parametrize("place", ["~/sweeps", "'~/sweeps'", "${paths.outputs}/sweeps", "here/a\\=b"])
def test_the_folder_of_a_sweep_is_resolved_like_that_of_a_run(
    composer: Composer, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", "/home/someone")
    found = composer.sweep_folder(["seed=1,2", "paths.outputs=/home/someone", f"hydra.sweep.dir={place}"])
    assert found == Path("here/a=b" if "=" in place else "/home/someone/sweeps")
    assert composer.sweep_folder(["seed=1,2"]) is None


def test_nesterov_needs_momentum_and_no_dampening(composer: Composer) -> None:
    given = ["optimizer=sgd", "optimizer.nesterov=true"]
    (problem,) = problems(composer, *given, "optimizer.momentum=0")
    assert "optimizer.nesterov=true needs momentum and no dampening" in problem
    assert len(problems(composer, *given, "optimizer.momentum=0.9", "optimizer.dampening=0.5")) == 1
    assert settings(composer, *given, "optimizer.momentum=0.9", "optimizer.dampening=0").optimizer.arguments["nesterov"]


def test_momentum_that_never_fades_is_refused_with_the_other_problems(composer: Composer) -> None:
    found = problems(composer, "optimizer=sgd", "optimizer.momentum=2", "seed=-1")
    assert [problem.partition(" must")[0] for problem in found] == ["seed=-1", "optimizer.momentum=2.0"]


def test_an_empty_mapping_may_stand_where_the_files_have_one_or_nothing(composer: Composer) -> None:
    of_torch = ["dataset=torch", "dataset.target=torchvision.datasets.MNIST", "dataset.arguments={}"]
    with pytest.raises(ConfigError) as caught:  # of the class, not of the mapping
        settings(composer, *of_torch)
    assert "changes nothing" not in str(caught.value)
    with pytest.raises(ConfigError, match="zzz is not a key of train"):
        settings(composer, "+train.zzz={}")


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("seed=range(5,0)", "holds no value at all"),
        ("seed=range(0,10000000000)", "holds more than 10,000 values"),
        ("seed=glob(zz*)", "matches nothing"),
        ("model.hidden=[40,range(1,3)]", "has a range, an interval or a choice within other values"),
        ("optimizer.lr=0.1,interval(1,2)", "has a range, an interval or a choice within other values"),
        ("+tags={a:[choice(b,c)]}", "has a range, an interval or a choice within other values"),
        ("train.steps=1e3", "Write 1000."),
        ("optimizer.lr=2 task.n_way=5.0", "Write 5."),
        ("algorithm=maml.yaml", "write algorithm=maml, without .yaml"),
        ("model=mlp.yaml", "write model=mlp, without .yaml"),
        ("model=conv4.yml", "write model=conv4, without .yml"),
        ("dataset=conf/dataset/glyphs.yaml", "write dataset=glyphs, without folders and suffix"),
        ("hydra.searchpath=[/tmp]", "--config-dir DIR"),
        ("seed=18446744073709551616", "integers go up to 2^64 - 1"),
        ("dataset.seed=-99999999999999999999999", "integers go up to 2^64 - 1"),
        ("device.threads=100000", "at most 1,024"),
        ("dataset/domains/sine=sinusoid dataset=mixture", "a command line cannot add a dataset to a mixture"),
        ("+dataset/domains=glyphs dataset=mixture", "a command line cannot add a dataset to a mixture"),
        ("optimizer/lr=0.1", "there is no group of files optimizer/lr. A choice of a file is group=name"),
        ("algorithm/inner={a:1}", "A key has points: algorithm.inner."),
        ("dataset.domains={} dataset=mixture", "dataset.domains={} changes nothing: a mapping is added to the one"),
        ("optimizer={}", "To take one of its keys out, write ~optimizer.NAME."),
        ("+train={}", "train={} changes nothing"),
    ],
)
def test_a_mistake_is_answered_with_what_to_write(composer: Composer, override: str, said: str) -> None:
    assert said in problems(composer, *override.split(" "))[0]
    assert settings(composer, "seed=18446744073709551615").seed == 2**64 - 1


@pytest.mark.parametrize(
    "override", ["train.meta_batch_size=10000000", "task.n_query=9000000 dataset=sinusoid", "eval.episodes=1000000000"]
)
def test_sizes_that_no_memory_holds_are_refused(composer: Composer, override: str) -> None:
    said = problems(composer, *override.split(" "))
    assert all("at most" in problem and "Lower" in problem for problem in said)
    assert settings(composer, "train.meta_batch_size=1000").train.meta_batch_size == 1000
