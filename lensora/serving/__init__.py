"""What the ``model.py`` files of ``model_repository`` share: the inside of Triton's Python backend.

It runs in Triton's own Python, here and in the official container (3.11 and 3.12, numpy 1 and 2), with this tree on
``PYTHONPATH``. So it imports the standard library, numpy and ``lensora.core`` alone, and Triton's
``triton_python_backend_utils`` only where a model runs.
"""
