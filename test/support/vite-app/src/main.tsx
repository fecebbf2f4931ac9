import { DialoutClient, DialoutError, type JobHandle } from "dialout/client";
import { useJob, useSpace } from "dialout/react";
import { useState } from "react";
import { createRoot } from "react-dom/client";

const query = new URLSearchParams(location.search);
const client = new DialoutClient({ url: query.get("edge") ?? "" });
const space = query.get("space") ?? "";

function App() {
  const { status, link, connection, error } = useSpace(client, space);
  const [job, setJob] = useState<JobHandle | null>(null);
  const [problem, setProblem] = useState("");
  const submit = async () => {
    try {
      setJob(await client.space(space).submit({ prompt: "a cat sat on the mat" }));
    } catch (error) {
      setProblem(error instanceof DialoutError ? error.code : String(error));
    }
  };
  return (
    <main>
      <p data-testid="worker">{status?.worker ?? link}</p>
      <p data-testid="connection">
        {connection.state} {error?.message}
      </p>
      <button type="button" data-testid="submit" onClick={submit}>
        Submit
      </button>
      <p data-testid="problem">{problem}</p>
      <Job id={job?.id ?? null} />
    </main>
  );
}

function Job({ id }: { id: string | null }) {
  const { status, output, result } = useJob(client, id);
  return (
    <section>
      <p data-testid="status">{status}</p>
      <pre data-testid="output">{output}</pre>
      <pre data-testid="result">{JSON.stringify(result)}</pre>
    </section>
  );
}

const root = document.getElementById("root");
if (root) createRoot(root).render(<App />);
