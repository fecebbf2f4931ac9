"""The process that keeps a worker's connection: registers, resumes, sends again, fetches and sends files."""
