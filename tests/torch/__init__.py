"""The torch adapters on tiny checkpoints of real architectures, through the real transformers.

They live in a process of their own (`tests.torch.inside`): importing mlx_vlm, as other tests
do, changes transformers for the whole process.
"""
