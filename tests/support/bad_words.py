"""Words of command lines: bad ones, which the check refuses, and good ones to stand among them."""

from __future__ import annotations

BAD = [
    "seed=18446744073709551616", "seed=-1", "seed=1.5", "seed=null", "seed=[1,2]", "seed=range(5,0)", "seed={a:1}",
    "seed=99999999999999999999999999999999999999", "eval.seed=18446744073709551616",
    "dataset.seed=18446744073709551616", "optimizer.betas=[0.9,1.0]", "optimizer.betas=[0.9]",
    "optimizer.betas=0.9", "optimizer.lr=-1", "optimizer.lr=nan", "optimizer.lr=inf", "optimizer.lr=1e400",
    "optimizer.eps=text", "optimizer.weight_decay=-0.1", "optimizer.nesterov=true", "train.steps=1e3",
    "train.steps=1.5", "train.steps=-1", "train.steps=true", "train.stepz=5", "train=5", "train=null",
    "train.meta_batch_size=10000000", "train.meta_batch_size=0", "train.eval_episodes=100000000000",
    "task.n_query=9000000", "eval.episodes=0", "eval.episodes=1000000000000", "task.n_way=1", "task.n_way=1000000",
    "task.k_shot=19 task.n_query=19", "task=regression_10shot", "task.n_way=-3", "dataset=sinusoid task=5way_1shot",
    "algorithm=proto_net dataset=sinusoid", "algorithm=maml.yaml", "algorithm=mamll", "algorithm=[maml]",
    "algorithm={a:b}", "algorithm=", "algorithm=null", "algorithm._target_=os.system",
    "algorithm._target_=torch.nn.Linear", "algorithm._target_=nowhere.Class", "algorithm._target_=5",
    "algorithm.inner_lr={_target_:os.system}", "algorithm.inner_lr=text", "algorithm.inner_step=3",
    "model.channels=[64]", "model._args_=[1]", "model.n_outputs=3", "clip=norm clip.threshold=0",
    "schedule=nothing", "device.threads=100000", "device.threads=0", "device.accelerator=gpu",
    "device.precision=tf32 device=cpu", "device=tpu", "paths.data=", "paths=null", "paths.outputs={}",
    "tracker=nothing", "tracker.wandb=5", "tracker.mine={_target_:os.system}", "hydra.searchpath=[/tmp]",
    "hydra.job.chdir=true", "hydra.callbacks={a:{_target_:os.system}}", "hydra/launcher=slurm",
    "hydra.launcher._target_=os.system", "hydra=5", "hydra.verbose=true", "experiment=none_such",
    "+experiment={a:b}", "tracker.wandb.project=${oc.env:HOME}", "paths.data=${oc.env:SECRET_KEY}",
    "tracker.wandb.project=${oc.decode:x}", "tracker.wandb.project=${oc.${tracker.wandb.mode}:HOME}",
    "tracker.wandb.project=${nothing.here}", "seed=${seed}", "tracker.wandb.project=${unclosed", "seed=???",
    "train.steps=${train.steps}", "no_such_key=1", "+train.more=1", "~seed", "~nothing", "~train.steps",
    "++algorithm=maml", "=5", "seed", "seed==5=6", "a b=c", "seed=1,2", "seed=choice(1,2)", "sweep.n_jobs=2",
    "search.n_trials=3", "seed=glob(*)", "seed=range(0,1000000000)", "seed=(", "seed='", 'seed="a', "seed=]",
    "\x00=1", "seed=\x00", "ключ=1", "seed=\u202e5", "train.steps=" + "9" * 5_000, "seed=" + "[" * 3_000,
    "x=" + "a" * 30_000, "paths.data=" + "${paths.outputs}" * 2_500, "--train.steps=5", "--no-such-option",
    "--config-dir=/nowhere", "--trust=no.such", "--cfg=nothing", "-cn=nothing",
]  # fmt: skip
FINE = [
    "algorithm=reptile",
    "seed=3",
    "train.steps=5",
    "device.task_chunk=2",
    "optimizer=sgd",
    "tracker=files",
    "clip=value",
]
