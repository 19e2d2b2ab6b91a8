"""Search: values of hyper-parameters chosen by a sampler, judged on validation tasks. Without torch."""
