/**
 * The API's types under short names, as the generated `api.d.ts` has them.
 */

import type { components } from "./api";

type Schemas = components["schemas"];

export type Problem = Schemas["Problem"];
export type ProblemReason = Schemas["ProblemReason"];
export type Session = Schemas["Session"];
export type Pipelines = Schemas["Pipelines"];
export type PipelineSummary = Schemas["PipelineSummary"];
export type ComponentSummary = Schemas["ComponentSummary"];
export type Component = Schemas["Component"];
export type State = Schemas["State"];
export type Condition = Schemas["Condition"];
export type PipelineView = Schemas["PipelineView"];
export type Rights = Schemas["Rights"];
export type ApiNode = Schemas["Node"];
export type Edge = Schemas["Edge"];
export type Why = Schemas["Why"];
export type Bottleneck = Schemas["Bottleneck"];
export type Stage = Schemas["Stage"];
export type StageSignals = Schemas["StageSignals"];
export type SourceView = Schemas["SourceView"];
export type ParamView = Schemas["ParamView"];
export type ScheduleView = Schemas["ScheduleView"];
export type History = Schemas["History"];
export type Series = Schemas["Series"];
export type SeriesKey = Schemas["SeriesKey"];
export type Measure = Schemas["Measure"];
export type Sample = Schemas["Sample"];
export type Lag = Schemas["Lag"];
export type PartitionLag = Schemas["PartitionLag"];
export type Topics = Schemas["Topics"];
export type Topic = Schemas["Topic"];
export type Messages = Schemas["Messages"];
export type Message = Schemas["Message"];
export type MessageHeader = Schemas["MessageHeader"];
export type ApiText = Schemas["Text"];
export type TailBatch = Schemas["TailBatch"];
export type Runs = Schemas["Runs"];
export type Run = Schemas["Run"];
export type Attempt = Schemas["Attempt"];
export type Trigger = Schemas["Trigger"];
export type Backfill = Schemas["Backfill"];
export type BackfillAnswer = Schemas["BackfillAnswer"];
export type BackfillRun = Schemas["BackfillRun"];
export type Done = Schemas["Done"];
export type Pods = Schemas["Pods"];
export type Pod = Schemas["Pod"];
export type Container = Schemas["Container"];
export type LogLines = Schemas["LogLines"];
export type Events = Schemas["Events"];
export type ApiEvent = Schemas["Event"];
export type Tables = Schemas["Tables"];
export type Table = Schemas["Table"];
export type Column = Schemas["Column"];
export type Rows = Schemas["Rows"];
export type DeadLetters = Schemas["DeadLetters"];
export type DeadLetter = Schemas["DeadLetter"];
export type Redrive = Schemas["Redrive"];
export type RedriveAnswer = Schemas["RedriveAnswer"];
export type Trace = Schemas["Trace"];
export type Step = Schemas["Step"];
export type Resource = Schemas["Resource"];
export type Difference = Schemas["Difference"];
export type TopicRange = Schemas["TopicRange"];
