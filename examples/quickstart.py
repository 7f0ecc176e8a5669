"""From a photo to its GLB: ``python examples/quickstart.py photo.jpg mesh.glb``.

``LENSORA_URL`` says where the studio is (``http://…`` or ``grpc://…``), ``LENSORA_KEY`` is the API key, if it asks
for one.
"""

import os
import sys

from lensora.client import JobFailed, Studio


def main(photo: str, mesh: str) -> None:
    """Upload, follow the job, download."""
    url = os.environ.get("LENSORA_URL", "http://127.0.0.1:8080")
    with Studio(os.environ.get("LENSORA_KEY", ""), url) as studio:
        session = studio.init(photo)
        print("in the photo:", ", ".join(found.label for found in session.info.objects))
        job = session.transform(background="on a marble countertop with soft natural light", camera="cinematic")
        for event in job.watch():
            print(f"\r{event.step:<16}{event.progress:>5.0%}", end="", flush=True)
        print()
        try:
            job.result()
        except JobFailed as error:
            sys.exit(f"{error.message} ({error.reason})")
        saved = job.download("glb", mesh)
        print(f"{mesh}: {saved.size:,} bytes")


if __name__ == "__main__":
    main(*sys.argv[1:])
