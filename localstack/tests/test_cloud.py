"""The parts of the local deployment that need no emulator."""

import os
import sys
import tempfile
import unittest
from pathlib import Path
from unittest import mock

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from cloud import Cloud, read_environment, write_environment
from deployment import FUNCTIONS, check_glibc, required_glibc
from emulators import LocalStack, MiniStack
from processes import Failure


class CloudTest(unittest.TestCase):
    def setUp(self):
        made = tempfile.TemporaryDirectory()
        self.addCleanup(made.cleanup)
        self.scratch = Path(made.name)
        self.cloud = Cloud(self.scratch / "cloud")

    def create_on(self, emulator: str) -> None:
        with mock.patch.dict(os.environ, {"TIDEMILL_EMULATOR": emulator}):
            self.cloud.create_directory()

    def test_emulator_is_chosen_once(self):
        self.create_on("localstack")
        self.create_on("")  # no choice: what is there
        self.assertIsInstance(self.cloud.emulator(), LocalStack)
        with self.assertRaisesRegex(Failure, "is on localstack. Remove it before you start one on ministack"):
            self.create_on("ministack")

    def test_default_emulator_is_ministack(self):
        self.create_on("")
        self.assertIsInstance(self.cloud.emulator(), MiniStack)

    def test_unknown_emulator_is_an_error_that_names_the_known_ones(self):
        with self.assertRaisesRegex(Failure, "ministack, localstack, localstack-image"):
            self.create_on("aws")
        self.assertFalse(self.cloud.directory.exists())

    def test_down_leaves_other_directories_alone(self):
        self.cloud.directory.mkdir()
        with self.assertRaisesRegex(Failure, "is not a local deployment"):
            self.cloud.down()

    def test_settings_are_read_as_they_were_written(self):
        settings = {"PLAIN": "a", "QUOTED": "it's $HOME # not a comment"}
        path = self.scratch / "env"
        write_environment(path, settings)
        self.assertEqual(read_environment(path), settings)
        self.assertEqual(path.stat().st_mode & 0o777, 0o600)


class GlibcTest(unittest.TestCase):
    def test_newest_version_counts(self):
        self.assertEqual(required_glibc(b"\x7fELF\0GLIBC_2.2.5\0GLIBC_2.34\0GLIBC_2.9\0"), (2, 34))
        self.assertEqual(required_glibc(b"in a text: GLIBC_2.99"), (0, 0))

    def test_function_that_needs_a_newer_one_is_named(self):
        with tempfile.TemporaryDirectory() as made:
            for name in FUNCTIONS:
                (Path(made) / name).write_bytes(b"\0GLIBC_2.34\0")
            check_glibc(Path(made), (2, 34))
            (Path(made) / "sweep").write_bytes(b"\0GLIBC_2.39\0")
            check_glibc(Path(made), None)
            with self.assertRaisesRegex(Failure, r"sweep needs glibc 2\.39, but functions run with glibc 2\.34"):
                check_glibc(Path(made), (2, 34))


if __name__ == "__main__":
    unittest.main()
