/** What people are told about a setting. Its default and its bounds are in the schema. */
export interface SettingText {
  label: string;
  /** One plain sentence: what the setting does. */
  text: string;
  /** What a number counts. Names that end in `_s` are in seconds. */
  unit?: string;
  /** What an empty field means, if the setting may be `null`. */
  ifEmpty?: string;
  /** What each choice means. */
  choices?: Record<string, string>;
}

export interface SettingGroup {
  title: string;
  settings: Record<string, SettingText>;
}

/**
 * Every setting of a space, in the order of the form. The form takes the fields themselves from the schema: a setting
 * that is missing here is shown all the same, without an explanation.
 */
export const SETTING_GROUPS: readonly SettingGroup[] = [
  {
    title: "What people see",
    settings: {
      title: {
        label: "Title",
        text: "The page of the space and the list of spaces show it instead of the name.",
      },
      description: {
        label: "Description",
        text: "The page of the space shows it under the title: say what the model does and what to send.",
      },
    },
  },
  {
    title: "Who may use it",
    settings: {
      visibility: {
        label: "Visibility",
        text: "Who may see the space and send it jobs.",
        choices: {
          public: "everybody",
          private: "its owner, its members and admins",
          shared: "the same as private, said in another word",
        },
      },
      anonymous_use: {
        label: "Anonymous use",
        text: "People who are not signed in may submit, if the space is public.",
      },
      anonymous_jobs_per_minute: {
        label: "Anonymous jobs a minute",
        text: "How many jobs one address may submit each minute without signing in.",
        unit: "jobs",
        ifEmpty: "as many as the edge lets it",
      },
    },
  },
  {
    title: "What may be sent",
    settings: {
      enable_prompt: {
        label: "Prompt",
        text: "A job may have a text, the prompt.",
      },
      enable_audio: {
        label: "Audio",
        text: "A job may have files in the field audio.",
      },
      enable_video: {
        label: "Video",
        text: "A job may have files in the field video.",
      },
      enable_file_upload: {
        label: "Other files",
        text: "A job may have files in any other field.",
      },
    },
  },
  {
    title: "Workers",
    settings: {
      max_workers: {
        label: "Workers at the same time",
        text: "How many workers may serve the space at once.",
        unit: "workers",
      },
      concurrency: {
        label: "Jobs of one worker",
        text: "How many jobs a worker runs at once, and never more than it offers.",
        unit: "jobs",
        ifEmpty: "as many as it offers",
      },
      reconnect_grace_s: {
        label: "Time to come back",
        text: "How long the jobs of a worker whose connection broke wait for it.",
      },
      max_attempts: {
        label: "Attempts",
        text: "How often a job is tried before it fails, for example when its worker is lost.",
        unit: "attempts",
      },
    },
  },
  {
    title: "The queue",
    settings: {
      offline: {
        label: "Without a worker",
        text: "What happens to a job that is sent while no worker is connected.",
        choices: { refuse: "it is refused", queue: "it waits in the queue" },
      },
      max_queue: {
        label: "Jobs that may wait",
        text: "One more is refused until the queue is shorter.",
        unit: "jobs",
      },
      max_queued_per_user: {
        label: "Waiting jobs of one user",
        text: "How many jobs of one user, or of one address of visitors, may wait.",
        unit: "jobs",
        ifEmpty: "as many as may wait at all",
      },
      max_running_per_user: {
        label: "Running jobs of one user",
        text: "How many jobs of one user run at once; further ones wait and let those of others pass.",
        unit: "jobs",
        ifEmpty: "as many as there are places",
      },
      max_priority_user: {
        label: "Highest priority of users",
        text: "A job with a higher priority is refused; higher ones go first.",
      },
      max_priority_anonymous: {
        label: "Highest priority of visitors",
        text: "The same for people who are not signed in.",
      },
    },
  },
  {
    title: "Time limits of a job",
    settings: {
      queue_timeout_s: {
        label: "In the queue",
        text: "A job that has waited so long for a worker fails.",
        ifEmpty: "no limit",
      },
      first_output_timeout_s: {
        label: "Until the first sign",
        text: "A job fails if its worker reports no progress and no output for so long after it has begun.",
        ifEmpty: "no limit",
      },
      stall_timeout_s: {
        label: "Silence",
        text: "A job fails if its worker is silent about it for so long between two reports.",
        ifEmpty: "no limit",
      },
      job_timeout_s: {
        label: "One attempt",
        text: "A job fails if one attempt takes longer.",
      },
    },
  },
  {
    title: "Results",
    settings: {
      result_ttl_s: {
        label: "Kept for",
        text: "How long a finished job and its result are kept.",
      },
      cache_ttl_s: {
        label: "Used again for",
        text: "How long a result also answers later jobs with the same input; 0: never.",
      },
    },
  },
];

/** The names that texts are there for. */
export const EXPLAINED: ReadonlyMap<string, SettingText> = new Map(
  SETTING_GROUPS.flatMap(({ settings }) => Object.entries(settings)),
);
